import type { Logger } from '../core/telemetry.ts'
import { systemClock, systemRandom } from '../lib/clock.ts'
import { uuidv7 } from '../lib/uuid.ts'
import { runJanitor } from '../outbox/janitor.ts'
import { createRelay } from '../outbox/relay.ts'
import type { Relay } from '../outbox/types.ts'
import type { Loaded } from './load-config.ts'

const LONGEST_STATEMENT_MS = 1000

export interface RunningRelay {
  readonly relay: Relay
  /** Whether everything was settled. Repeated calls share one stop. */
  stop(graceMs: number): Promise<boolean>
}

/**
 * Starts relay and janitor on an open store. The janitor looks after kept messages only: how long inbox
 * records are kept is known to the apps that consume.
 */
export function startRelay(
  { config, transports }: Loaded,
  { name, logger }: { readonly name: string; readonly logger: Logger },
): RunningRelay {
  const { store } = config
  const common = { app: name, storage: store.outbox, clock: systemClock, logger }
  const relay = createRelay({
    ...common,
    transports,
    wakers: store.wakers,
    pauses: store.operations?.pauses,
    random: systemRandom,
    newToken: () => uuidv7(systemClock.now()),
    // Nobody commits in this process, so there is nothing for an express lane.
    options: { ...config.relay, express: false },
  })
  const closing = new AbortController()
  const janitor = runJanitor(common, { signal: closing.signal })
  relay.start()
  let stopped: Promise<boolean> | undefined
  return {
    relay,
    stop(graceMs) {
      stopped ??= (async () => {
        closing.abort()
        const settled = await relay.stop({ graceMs })
        // Its statement may wait for a database that does not answer; what it has not removed is removed later.
        await Promise.race([janitor, systemClock.sleep(LONGEST_STATEMENT_MS)])
        return settled
      })()
      return stopped
    },
  }
}
