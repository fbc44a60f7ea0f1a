import type { AppHealth } from '../app/health/health.ts'
import { assemblyOf, type Mersal } from '../app/mersal.ts'
import type { Store } from '../core/store.ts'
import type { Transport } from '../core/transport.ts'
import type { ServedStore } from '../outbox/many-stores/relays-options.ts'
import { problem } from './http/problem.ts'

/** The part of a store that is shown. */
export type ShownStore = Pick<Store<unknown>, 'name' | 'admin' | 'operations' | 'sagas'>

/** One database with its brokers, or one app. */
export interface Source {
  readonly name: string
  readonly kind: 'app' | 'store'
  /** Undefined: an app without an outbox of Mersal's. */
  readonly store: ShownStore | undefined
  readonly transports: ReadonlyMap<string, Transport>
  /** Queues to ask the main transport for, beyond those that are found. */
  readonly queues: readonly string[]
  /** Throws a problem unless it can be asked. */
  readonly ready: () => Promise<void>
  readonly health?: () => Promise<AppHealth>
}

export function sourceOfApp(app: Mersal<unknown>, queues: readonly string[]): Source {
  const { settings, lifecycle } = assemblyOf(app)
  const { store, storage } = settings
  return {
    name: app.name,
    kind: 'app',
    store: store !== undefined && storage === store.outbox ? store : undefined,
    transports: settings.transports,
    queues: settings.sendOnly ? queues : [app.name, ...queues],
    async ready() {
      // The store belongs to the app, which opens it and closes it.
      if (lifecycle.state !== 'running')
        throw problem(503, 'not-running', `The app is ${stateText(lifecycle.state)}.`)
    },
    health: () => app.health(),
  }
}

const stateText = (state: string): string => (state === 'idle' ? 'not started yet' : state)

export function sourceOfStore(
  { name, store, transports }: ServedStore<ShownStore & ServedStore['store']>,
  queues: readonly string[],
): Source {
  return { name, kind: 'store', store, transports, queues, ready: opening(store) }
}

/** Opens the store once; after a failure the next one tries again. Changes no tables. */
function opening(store: ShownStore & ServedStore['store']): () => Promise<void> {
  let open: Promise<void> | undefined
  const once = async (): Promise<void> => {
    const version = await store.operations?.schema?.version()
    if (version !== undefined && version.current < version.newest)
      throw problem(
        503,
        'old-tables',
        `Its tables have version ${version.current} of ${version.newest}: run 'mersal migrate'.`,
      )
    await store.open()
  }
  return () =>
    (open ??= once().catch((thrown: unknown) => {
      open = undefined
      throw thrown
    }))
}
