import {
  checkClock,
  checkOptions,
  checkRandom,
  checkShape,
  invalidOption,
} from '../../core/options.ts'
import { type Logger, stderrLogger } from '../../core/telemetry.ts'
import { type Clock, type Random, systemClock, systemRandom } from '../../lib/async/clock.ts'
import { shareCapacity } from '../limits/capacity.ts'
import { LEAST_WINDOW_BYTES } from '../options.ts'
import {
  servedStores,
  type ServedStore,
  type SharedOptions,
  sharedWindow,
  type Stores,
} from './relays-options.ts'
import { mayPass, type ServedRelay, StoreRelay } from './store-relay.ts'

/** What the relays of one process serve. */
export interface RelaysOptions extends SharedOptions {
  /** By name: shards, tenants, regions. Each has tables of its own. */
  readonly stores: Stores
  /** Shown in events and logs, followed by `/` and the name of the store. Default 'relay'. */
  readonly name?: string
  /** Default: warnings as JSON lines on standard error. */
  readonly logger?: Logger
  /** For tests. Default: the clock of the system. */
  readonly clock?: Clock
  /** For tests. Default `Math.random`. */
  readonly random?: Random
}

/** A relay for each of several stores, in one process. */
export interface Relays extends AsyncDisposable {
  readonly served: readonly ServedRelay[]
  /** Most messages in the hands of all together. */
  readonly window: number
  /**
   * Opens the stores and starts a relay and a janitor for each. Resolves when the first one runs;
   * the others follow when their databases answer. Rejects with what the first store said if none
   * of them could be opened.
   */
  start(): Promise<void>
  /**
   * Stops all of them side by side, as `Relay.stop` does. Returns whether everything was settled.
   * Default grace 8000 ms.
   */
  stop(options?: { readonly graceMs?: number }): Promise<boolean>
}

const known = ['stores', 'transport', 'bridges', 'relay', 'name', 'logger', 'clock', 'random']
const STOP_GRACE_MS = 8000

/**
 * One relay per store, all in one process, with one bound on what they hold together:
 * `relay.window`, by default 1000 or 20 for each store. None holds up another: half of the window
 * is divided among them, a store that is away is opened again in the background, and destinations
 * have breakers per store. The stores, the transports and what they are made of stay yours. Throws
 * `MERSAL_INVALID_OPTIONS`.
 */
export function createRelays(options: RelaysOptions): Relays {
  checkOptions('relays', options, known)
  if (options.logger !== undefined)
    checkShape('relays.logger', options.logger, ['debug', 'info', 'warn', 'error'])
  checkClock('relays.clock', options.clock)
  checkRandom('relays.random', options.random)
  const { name } = options as { readonly name?: unknown }
  if (name !== undefined && (typeof name !== 'string' || name === ''))
    throw invalidOption('relays.name', 'expected a text')
  const served = servedStores(options.stores, options, 'relays')
  return relaysOf(served, options, sharedWindow(served, options, 'relays'))
}

interface Ports extends Pick<RelaysOptions, 'name' | 'logger' | 'clock' | 'random'> {
  /**
   * `start` resolves although no store could be opened, if one of them may be later: it is tried
   * again and again.
   */
  readonly patient?: boolean
}

/** The same of stores that have been checked. A single one is called by `name` alone. */
export function relaysOf(served: readonly ServedStore[], ports: Ports, window: number): Relays {
  const capacity =
    served.length === 1 ? undefined : shareCapacity({ window, relays: served.length })
  const alone = served.length === 1
  const stores = served.map((one) => {
    const windowBytes = Math.max(
      LEAST_WINDOW_BYTES,
      Math.floor(one.settings.windowBytes / served.length),
    )
    return new StoreRelay(one, { ...filledIn(ports), capacity, alone, windowBytes })
  })
  let stopped: Promise<boolean> | undefined
  const relays: Relays = {
    served: stores.map(({ relay }) => relay),
    window,
    async start() {
      try {
        await Promise.any(stores.map((store) => store.start()))
      } catch (thrown) {
        const { errors } = thrown as AggregateError
        if (ports.patient === true && errors.some(mayPass)) return
        await relays.stop({ graceMs: 0 })
        throw errors[0]
      }
    },
    stop({ graceMs = STOP_GRACE_MS } = {}) {
      stopped ??= Promise.all(stores.map((store) => store.stop(graceMs))).then((all) =>
        all.every(Boolean),
      )
      return stopped
    },
    async [Symbol.asyncDispose]() {
      await relays.stop()
    },
  }
  return relays
}

function filledIn({
  name = 'relay',
  logger = stderrLogger,
  clock = systemClock,
  random = systemRandom,
  patient = false,
}: Ports): Required<Ports> {
  return { name, logger, clock, random, patient }
}
