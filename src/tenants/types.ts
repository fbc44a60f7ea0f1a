import type { AppState } from '../app/lifecycle.ts'
import type { Mersal } from '../app/mersal.ts'
import type { TenantStatus } from './tenant.ts'

/** One app for each of several tenants, which share a queue, the transports and a window. */
export interface Tenants<Tx> extends AsyncDisposable {
  /** The name of all their apps, and of the input queue. */
  readonly name: string
  readonly state: AppState
  /**
   * Opens the tenants, some at a time, and begins to receive. Resolves when the first one is open;
   * the others follow, and one whose database is away is tried again in the background. Rejects,
   * and stops, if none could be opened, or if the function in `tenants` failed. When the signal
   * aborts, they stop. Repeated calls share one start.
   */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * The running app of a tenant. Ask for it each time, and keep it no longer than for one request.
   *
   * Throws `MERSAL_INVALID_OPTIONS` for what cannot be a name, `MERSAL_UNKNOWN_TENANT`, or why the
   * tenant cannot be opened.
   */
  get(tenant: string): Promise<Mersal<Tx>>
  /** Every tenant, and how it is, in the order of their names. */
  list(): readonly TenantStatus[]
  /**
   * Adds a tenant, and opens it. If that fails, it is not added, and the call rejects with why. A
   * tenant that is there already is only opened. Not where a function lists the tenants: change
   * what it returns, then call `refresh()`.
   */
  add(tenant: string): Promise<void>
  /**
   * Removes a tenant, as `Mersal.stop` stops an app: consumers first, then units and the relay,
   * within `graceMs` milliseconds. What is not published stays in its outbox; a message that still
   * comes for it becomes a dead letter. Resolves to false if there is no such tenant.
   */
  remove(tenant: string, options?: { readonly graceMs?: number }): Promise<boolean>
  /**
   * Asks the function in `tenants` now. New tenants are opened in the background, those that are
   * gone are removed. Rejects with what the function throws; then nothing has changed.
   */
  refresh(): Promise<void>
  /**
   * Stops all apps side by side, as `Mersal.stop` does, then closes the transports. Throws the
   * first error of an app after all have stopped. Repeated calls share one stop.
   */
  stop(options?: { readonly graceMs?: number }): Promise<void>
}
