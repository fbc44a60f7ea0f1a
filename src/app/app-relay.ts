import { uuidv7 } from '../lib/uuid.ts'
import { newClaimCondition } from '../outbox/claim/claim-loop.ts'
import { createLogOffers, type LogOffers, type LogOffersPorts } from '../outbox/log/log-offers.ts'
import { createRelay } from '../outbox/relay.ts'
import type { Environment } from '../outbox/environment.ts'
import type { OutboxStorage, Waker } from '../core/outbox.ts'
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
  if (settings.storage === undefined) return idleRelay
  const relay = settings.runRelay ? runningRelay(settings, settings.storage) : idleRelay
  const log = offersTo(settings)
  return log === undefined ? relay : offeringLog(relay, createLogOffers(log))
}

function runningRelay<Tx>(settings: Settings<Tx>, given: OutboxStorage<Tx>): AppRelay {
  const { storage, tally } = tallied(given)
  return Object.assign(relayOn(settings, storage, settings.wakers), { tally })
}

/** A relay that publishes for this app from its storage, not started. */
export function relayOn<Tx>(
  settings: Settings<Tx>,
  claimed: RelayStorage,
  wakers: readonly Waker[],
): Relay {
  const { transports, relay, capacity } = settings
  const ours = storeOf(settings)
  return createRelay({
    environment: environmentOf(settings),
    storage: claimed,
    transports,
    wakers,
    pauses: ours?.operations?.pauses,
    settings: relay,
    capacity,
    log: ours?.commitLog,
  })
}

function environmentOf<Tx>(settings: Settings<Tx>): Environment {
  const { name, tenant, logger, clock, random } = settings
  const app = tenant === undefined ? name : `${name}/${tenant}`
  return { app, clock, random, logger, newToken: () => uuidv7(clock.now()) }
}

/** The store, if the outbox is the one in it. */
const storeOf = <Tx>({ store, storage }: Settings<Tx>): Settings<Tx>['store'] =>
  storage === store?.outbox ? store : undefined

/** Undefined: what the app writes is not left to whoever reads the log. */
function offersTo<Tx>(settings: Settings<Tx>): LogOffersPorts | undefined {
  const { express, expressGraceMs: graceMs } = settings.relay
  const log = express === 'commit-log' ? storeOf(settings)?.commitLog : undefined
  return log && { environment: environmentOf(settings), graceMs, log }
}

/** What the app writes is published by whoever reads the log, while somebody does. */
function offeringLog(relay: AppRelay, offers: LogOffers): AppRelay {
  const stopping = new AbortController()
  return {
    get state() {
      return relay.state
    },
    tally: relay.tally,
    condition: relay.condition,
    start() {
      relay.start()
      // It never rejects, and its last question may be to a server that does not answer.
      void offers.watch(stopping.signal)
    },
    wake: () => relay.wake(),
    express: (messages) => offers.offer(messages),
    drain: (options) => relay.drain(options),
    stop(options) {
      stopping.abort()
      return relay.stop(options)
    },
  }
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
