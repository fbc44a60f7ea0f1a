import { uuidv7 } from '../lib/uuid.ts'
import { newClaimCondition } from '../outbox/claim/claim-loop.ts'
import { createRelay } from '../outbox/relay.ts'
import type { Waker } from '../core/outbox.ts'
import type { Relay } from '../outbox/types.ts'
import { type RelayStorage, type Tally, tallied } from './drain/tally.ts'
import type { Settings } from './settings/settings.ts'

/** What an app asks of its relay. */
export type AppRelay = Pick<
  Relay,
  'state' | 'condition' | 'start' | 'wake' | 'express' | 'drain' | 'stop'
> & { readonly tally: Tally }

/** The relay of an app, not started. It stays idle if no relay is to run here. */
export function appRelay<Tx>(settings: Settings<Tx>): AppRelay {
  if (settings.storage === undefined || !settings.runRelay) return idleRelay
  const { storage, tally } = tallied(settings.storage)
  return Object.assign(relayOn(settings, storage, settings.wakers), { tally })
}

/** A relay that publishes for this app from its storage, not started. */
export function relayOn<Tx>(
  settings: Settings<Tx>,
  claimed: RelayStorage,
  wakers: readonly Waker[],
): Relay {
  const { name, tenant, store, storage, transports, logger, clock, random } = settings
  const app = tenant === undefined ? name : `${name}/${tenant}`
  const newToken = (): string => uuidv7(clock.now())
  return createRelay({
    environment: { app, clock, random, logger, newToken },
    storage: claimed,
    transports,
    wakers,
    pauses: storage === store?.outbox ? store?.operations?.pauses : undefined,
    settings: settings.relay,
    capacity: settings.capacity,
  })
}

/** For an app without an outbox, and for one whose relay runs elsewhere. */
const idleRelay: AppRelay = {
  state: 'idle',
  tally: { counts: { published: 0, dead: 0, unconfirmed: 0 }, cut: false, follow: () => () => {} },
  condition: {
    claims: newClaimCondition(),
    settleFailures: 0,
    settleAskedAt: undefined,
    away: new Set(),
  },
  start: () => {},
  wake: () => {},
  express: () => undefined,
  drain: () => Promise.resolve(),
  stop: () => Promise.resolve(true),
}
