import { errorFields } from '../core/errors/error-text.ts'
import { invalidOption } from '../core/options.ts'
import type { Logger } from '../core/telemetry.ts'
import type { Clock } from '../lib/async/clock.ts'
import { printable } from '../lib/text.ts'
import { checkTenant } from '../app/settings/tenant.ts'
import type { TenantNames } from './options.ts'

export interface RosterPorts {
  /** Name of the app. */
  readonly name: string
  readonly tenants: TenantNames
  readonly logger: Logger
  readonly clock: Clock
  /** Called after the names have changed by an answer of the function. */
  readonly onChange: () => void
}

/** `later`: nobody can tell at this moment. */
export type Judgement = 'known' | 'unknown' | 'later'

/** The function is asked at most this often because of a message, in milliseconds. */
const ASK_EVERY_MS = 1000

/** The names of the tenants. */
export class Roster {
  readonly #ports: RosterPorts
  #names = new Set<string>()
  #askedAt = Number.NEGATIVE_INFINITY
  #asking: Promise<void> | undefined

  /** Throws `MERSAL_INVALID_OPTIONS` for names that cannot be names. */
  constructor(ports: RosterPorts) {
    this.#ports = ports
    const { tenants } = ports
    if (typeof tenants === 'function') return
    if (!Array.isArray(tenants))
      throw invalidOption('tenants', 'expected an array of names, or a function that lists them')
    this.#names = checkNames(tenants)
  }

  get names(): readonly string[] {
    return [...this.#names]
  }

  /** Whether a function knows the names, so that nobody else may change them. */
  get asks(): boolean {
    return typeof this.#ports.tenants === 'function'
  }

  has(name: string): boolean {
    return this.#names.has(name)
  }

  /** Throws `MERSAL_INVALID_OPTIONS` if the name differs from another one only in case. */
  add(name: string): void {
    this.#names = checkNames([...this.#names, name])
  }

  remove(name: string): void {
    this.#names.delete(name)
  }

  /** Asks the function. Rejects with what it throws; the names stay as they were. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined))
    return this.#asking
  }

  /**
   * What is known of a name that a message brought. A tenant that was listed before the message came
   * is never unknown.
   */
  async judge(name: string): Promise<Judgement> {
    if (this.#names.has(name)) return 'known'
    if (!this.asks) return 'unknown'
    const { clock, logger, name: app } = this.#ports
    // An answer that is under way may be older than the message.
    if (this.#asking !== undefined || clock.monotonic() - this.#askedAt < ASK_EVERY_MS)
      return 'later'
    try {
      await this.refresh()
    } catch (error) {
      logger.warn({ app, ...errorFields(error) }, 'the tenants cannot be listed')
      return 'later'
    }
    return this.#names.has(name) ? 'known' : 'unknown'
  }

  async #ask(): Promise<void> {
    const { tenants, clock, onChange } = this.#ports
    if (typeof tenants !== 'function') return
    this.#askedAt = clock.monotonic()
    const given: unknown = await tenants()
    if (!Array.isArray(given))
      throw invalidOption('tenants', 'the function has to return an array of names')
    this.#names = checkNames(given)
    onChange()
  }
}

function checkNames(given: readonly unknown[]): Set<string> {
  const names = new Map<string, string>()
  for (const [index, one] of given.entries()) {
    const name = checkTenant(`tenants[${index}]`, one)
    const before = names.get(name.toLowerCase())
    if (before !== undefined && before !== name) {
      const text = `'${printable(name)}' differs from '${printable(before)}' only in case: in names of schemas and files they could be the same`
      throw invalidOption(`tenants[${index}]`, text)
    }
    names.set(name.toLowerCase(), name)
  }
  return new Set(names.values())
}
