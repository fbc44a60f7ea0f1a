import { MersalError } from '../../core/errors/errors.ts'
import { checkOptions, checkShape } from '../../core/options.ts'
import { type Logger, stderrLogger } from '../../core/telemetry.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { type Clock, type Random, systemClock, systemRandom } from '../../lib/async/clock.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { errorFields } from '../../core/errors/error-text.ts'
import { fulfilledWithin } from '../../lib/async/within.ts'
import { startWithJanitor } from '../janitor.ts'
import { LEAST_WINDOW_BYTES } from '../options.ts'
import { createRelay } from '../relay.ts'
import {
  type RelayStore,
  servedStores,
  type ServedStore,
  type SharedOptions,
  sharedWindow,
  type Stores,
} from './relays-options.ts'
import { type SharedCapacity, shareCapacity } from '../limits/capacity.ts'
import type { Relay } from '../types.ts'

/** What the relays of one process serve. */
export interface RelaysOptions extends SharedOptions {
  /** By name: shards, tenants, regions. Each has tables of its own. */
  readonly stores: Stores
  /** Shown in events and logs, followed by `/` and the name of the store. Default 'relay'. */
  readonly name?: string
  /** Default: warnings as JSON lines on standard error. */
  readonly logger?: Logger
  /** For tests. */
  readonly clock?: Clock
  /** For tests. */
  readonly random?: Random
}

/** The relay of one store. */
export interface ServedRelay {
  /** The name in `stores`. */
  readonly name: string
  /** The name in events and logs. */
  readonly app: string
  /**
   * `opening`: its store could not be opened yet; it is tried again and again, at most 30 s apart.
   */
  readonly state: 'opening' | Relay['state']
  /** Messages in its hands. */
  readonly held: number
  wake(): void
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
   * Default grace 10000 ms.
   */
  stop(options?: { readonly graceMs?: number }): Promise<boolean>
}

const known = ['stores', 'transport', 'bridges', 'relay', 'name', 'logger', 'clock', 'random']
/** Between two attempts to open a store. */
const REOPEN = { firstMs: 1000, longestMs: 30_000 }
/** After the grace period, for the last statement of a janitor. */
const LAST_MS = 500
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
  const served = servedStores(options.stores, options, 'relays')
  return relaysOf(served, options, sharedWindow(served, options, 'relays'))
}

type Ports = Pick<RelaysOptions, 'name' | 'logger' | 'clock' | 'random'>

/** The same of stores that have been checked. A single one is called by `name` alone. */
export function relaysOf(served: readonly ServedStore[], ports: Ports, window: number): Relays {
  const capacity =
    served.length === 1 ? undefined : shareCapacity({ window, relays: served.length })
  const alone = served.length === 1
  const parts = served.map((one) => {
    const windowBytes = Math.max(
      LEAST_WINDOW_BYTES,
      Math.floor(one.settings.windowBytes / served.length),
    )
    return serve(one, { ...filledIn(ports), capacity, alone, windowBytes })
  })
  let stopped: Promise<boolean> | undefined
  const relays: Relays = {
    served: parts.map(({ relay }) => relay),
    window,
    async start() {
      try {
        await Promise.any(parts.map((part) => part.start()))
      } catch (thrown) {
        await relays.stop({ graceMs: 0 })
        throw (thrown as AggregateError).errors[0]
      }
    },
    stop({ graceMs = STOP_GRACE_MS } = {}) {
      stopped ??= Promise.all(parts.map((part) => part.stop(graceMs))).then((all) =>
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
}: Ports): Required<Ports> {
  return { name, logger, clock, random }
}

interface Surroundings extends Required<Ports> {
  readonly capacity: SharedCapacity | undefined
  readonly alone: boolean
  readonly windowBytes: number
}

interface Part {
  readonly relay: ServedRelay
  /** Settles after the first attempt to open the store. */
  start(): Promise<void>
  stop(graceMs: number): Promise<boolean>
}

function serve(
  { name, store, transports, settings }: ServedStore,
  surroundings: Surroundings,
): Part {
  const { logger, clock, random, capacity, alone, windowBytes } = surroundings
  const app = alone ? surroundings.name : `${surroundings.name}/${name}`
  const relay = createRelay({
    environment: { app, clock, random, logger, newToken: () => uuidv7(clock.now()) },
    storage: store.outbox,
    transports,
    wakers: store.wakers,
    pauses: store.operations?.pauses,
    settings: { ...settings, windowBytes },
    capacity,
  })
  const closing = new AbortController()
  let janitor: Promise<void> = Promise.resolve()
  let opened = false

  function run(): void {
    if (closing.signal.aborted) return
    opened = true
    // Kept messages only: how long inbox records are kept is known to the apps that consume.
    const kept = { app, storage: store.outbox, clock, logger }
    janitor = startWithJanitor(relay, kept, { signal: closing.signal })
  }

  async function openLater(): Promise<void> {
    for (let failures = 1; !closing.signal.aborted; failures++) {
      await clock.sleep(backoffMs(REOPEN, failures, random), closing.signal)
      if (closing.signal.aborted || (await tryToOpen(store)) !== undefined) continue
      logger.info({ app, store: name }, 'the store could be opened; its relay runs')
      run()
      return
    }
  }

  return {
    relay: {
      name,
      app,
      get state() {
        return opened || closing.signal.aborted ? relay.state : 'opening'
      },
      get held() {
        return relay.held
      },
      wake: () => relay.wake(),
    },
    async start() {
      if (closing.signal.aborted || opened)
        throw new MersalError(
          'MERSAL_APP_STOPPED',
          'these relays have been started; create new ones',
        )
      const problem = await tryToOpen(store)
      if (problem === undefined) return run()
      if (alone) throw problem
      logger.error(
        { app, store: name, ...errorFields(problem) },
        'the store could not be opened; trying again, and serving the others',
      )
      void openLater()
      throw problem
    },
    async stop(graceMs) {
      closing.abort()
      const settled = await relay.stop({ graceMs })
      // Its statement may wait for a database that does not answer; what it has not removed is
      // removed later.
      await fulfilledWithin(clock, LAST_MS, janitor)
      return settled
    },
  }
}

/** What went wrong, if anything. */
async function tryToOpen(store: RelayStore): Promise<unknown> {
  try {
    await store.open()
    return undefined
  } catch (thrown) {
    return thrown ?? new Error('the store could not be opened')
  }
}
