import { uuidv7 } from '../lib/uuid.ts'
import { newClaimCondition } from '../outbox/claim/claim-loop.ts'
import { createRelay } from '../outbox/relay.ts'
import type { Relay } from '../outbox/types.ts'
import type { Settings } from './settings/settings.ts'

/** What an app asks of its relay. */
export type AppRelay = Pick<
  Relay,
  'state' | 'condition' | 'start' | 'wake' | 'express' | 'drain' | 'stop'
>

/** The relay of an app, not started. It stays idle if no relay is to run here. */
export function appRelay<Tx>(settings: Settings<Tx>): AppRelay {
  const { name, store, storage, runRelay, transports, wakers, logger, clock, random } = settings
  if (storage === undefined || !runRelay) return idleRelay
  const newToken = (): string => uuidv7(clock.now())
  return createRelay({
    environment: { app: name, clock, random, logger, newToken },
    storage,
    transports,
    wakers,
    pauses: storage === store?.outbox ? store?.operations?.pauses : undefined,
    settings: settings.relay,
  })
}

/** For an app without an outbox, and for one whose relay runs elsewhere. */
const idleRelay: AppRelay = {
  state: 'idle',
  condition: { claims: newClaimCondition(), settleFailures: 0, away: new Set() },
  start: () => {},
  wake: () => {},
  express: () => undefined,
  drain: () => Promise.resolve(),
  stop: () => Promise.resolve(true),
}
