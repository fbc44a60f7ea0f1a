import { wakeHints } from '../lib/async/wake-hints.ts'
import { type AppRelay, appRelay } from './app-relay.ts'
import { createDraining, type Draining } from './drain/drain.ts'
import { Health } from './health/health.ts'
import { Lifecycle } from './lifecycle.ts'
import type { AttemptPorts } from './receive/attempt.ts'
import { Once } from './once/once.ts'
import { Handlers } from './receive/handlers.ts'
import { Limits } from './receive/limits/limits.ts'
import { Receiver } from './receive/receiver.ts'
import { storeGate } from './receive/store-away/probe.ts'
import { Subscriptions } from './receive/subscriptions.ts'
import { type Outcomes, outcomes } from './requests/outcome.ts'
import { type Refuse, refusing } from './requests/replying.ts'
import { Requests } from './requests/requests.ts'
import { Runtime } from './runtime.ts'
import { type AppSenders, appSenders } from './send/app-senders.ts'
import { outgoingPipeline } from './send/outgoing.ts'
import type { RoutingFacts } from './send/routing.ts'
import type { SendPorts } from './send/send-calls.ts'
import { Sagas } from './sagas/sagas.ts'
import type { Settings } from './settings/settings.ts'
import { createAmbient } from './unit/ambient.ts'
import { handlerUnits, mostHandlerUnits } from './unit/handler-capacity.ts'
import { OpenUnits } from './unit/open-units.ts'
import { type AppOutbox, appOutbox } from './unit/queue-beside-outbox.ts'
import { type RunUnit, type UnitPorts, unitRunner } from './unit/run-unit.ts'
import { Transactions } from './unit/transactions.ts'
import { unitSenders } from './unit/unit-senders.ts'

/** The parts of an app, put together. */
export interface Assembly<Tx> {
  readonly settings: Settings<Tx>
  readonly handlers: Handlers<Tx>
  readonly sagas: Sagas<Tx>
  readonly subscriptions: Subscriptions
  readonly receiver: Receiver<Tx>
  /** What one attempt to handle a message works with. */
  readonly attempts: AttemptPorts<Tx>
  readonly transactions: Transactions<Tx>
  readonly once: Once<Tx>
  readonly requests: Pick<Requests<Tx>, 'request'>
  readonly outcome: Outcomes
  readonly senders: AppSenders<Tx>
  readonly relay: AppRelay
  readonly draining: Draining
  readonly lifecycle: Lifecycle
  readonly health: Health<Tx>
  /** Opens the store, once. */
  readonly open: () => Promise<void>
}

/** Puts the parts of an app together. Nothing runs yet. */
export function assemble<Tx>(settings: Settings<Tx>): Assembly<Tx> {
  const closing = new AbortController()
  const forced = new AbortController()
  const ambient = createAmbient<Tx>()
  const handlers = new Handlers<Tx>(settings)
  const units = new OpenUnits<Tx>(forced.signal)
  const relay = appRelay(settings)
  const outbox = settings.storage && appOutbox(settings.storage, settings)
  const routing = routingOf(settings, handlers)
  const { transports } = settings
  const queue = routing.ownQueue
  const subscriptions = new Subscriptions({ queue, transports, routing, handlers })
  const sending = sendPorts(settings, routing, relay, outbox, closing.signal)
  const makers = unitSenders(sending, { ambient, savepoints: settings.savepoints })
  const runUnit = outbox && appUnits(settings, { ambient, units, relay, outbox })
  const attempts = {
    settings,
    ambient,
    units,
    runUnit: runUnit && handlerUnits(runUnit, mostHandlerUnits(settings.units)),
    senders: makers,
  }
  const limits = new Limits({ ...settings, ofTypes: () => handlers.limits() })
  const receiving = { handlers, gate: storeGate(settings), refuse: refusing(sending), limits }
  const receiver = new Receiver({ ...attempts, ...receiving, forced: forced.signal })
  const sagas = new Sagas<Tx>(settings, handlers)
  const open = opening(settings, outbox, sagas)
  const place = () => ({ state: lifecycle.state, outer: transactions.outer() })
  const requests = new Requests<Tx>({ settings, sending, place })
  const prune: Once<Tx>['prune'] = (limit, longerMs) => once.prune(limit, longerMs)
  const draining = createDraining({ settings, relay, open, place })
  const parts = { settings, subscriptions, receiver, units, relay, draining, open, requests }
  const runtime = new Runtime({ ...parts, once: { prune }, forced, closing })
  const lifecycle = new Lifecycle(settings, runtime)
  const receptions = (): Runtime<Tx>['receptions'] => runtime.receptions
  const health = new Health({ settings, lifecycle, relay, gate: receiving.gate, receptions })
  const inUnits = { ambient, unitSenders: makers, lifecycle }
  const { name: app, logger, ambientSends } = settings
  const transactions = new Transactions({ app, logger, runUnit, open, ...inUnits })
  const once = new Once({ settings, transactions, open, lifecycle })
  return {
    settings,
    handlers,
    sagas,
    subscriptions,
    receiver,
    attempts,
    transactions,
    once,
    requests,
    outcome: outcomes({ settings, lifecycle, closing: closing.signal, open, transactions }),
    senders: appSenders({ sending, ambientSends, units, ...inUnits }),
    relay,
    draining,
    lifecycle,
    health,
    open,
  }
}

/** Tells askers that their requests were given up, also where no app is there for the message. */
export function refusalsOf<Tx>(settings: Settings<Tx>): Refuse {
  const routing = routingOf(settings, { get: () => undefined })
  const { signal } = new AbortController()
  return refusing(sendPorts(settings, routing, { wake: () => {} }, undefined, signal))
}

/** Opens the store once, and what sagas keep there. */
function opening<Tx>(
  { store, relay, runRelay }: Settings<Tx>,
  outbox: AppOutbox<Tx> | undefined,
  sagas: Sagas<Tx>,
): () => Promise<void> {
  const openStore = onlyOnce(async () => {
    await store?.open()
    if (runRelay && relay.commitLog) await store?.commitLog?.prepare()
    await outbox?.link()
  })
  return async () => {
    await openStore()
    await sagas.open()
  }
}

function routingOf<Tx>(settings: Settings<Tx>, handlers: Pick<Handlers<Tx>, 'get'>): RoutingFacts {
  return {
    ownQueue: settings.sendOnly ? undefined : settings.name,
    routes: settings.routes,
    handles: (type) => handlers.get(type) !== undefined,
    transports: settings.transports,
  }
}

function sendPorts<Tx>(
  settings: Settings<Tx>,
  routing: RoutingFacts,
  relay: Pick<AppRelay, 'wake'>,
  outbox: AppOutbox<Tx> | undefined,
  closing: AbortSignal,
): SendPorts<Tx> {
  const { name: app, tenant, logger, transports, clock, serializers, checkBodies } = settings
  const limitOf = (transport: string): number =>
    transports.get(transport)?.features.maxMessageBytes ?? 0
  const systemOf = (transport: string): string => transports.get(transport)?.name ?? transport
  const wake = (): void => {
    relay.wake()
    outbox?.remind()
  }
  const hint = wakeHints(clock, wake, closing)
  return {
    app,
    logger,
    transports,
    storage: outbox?.storage,
    routing,
    onForeignRows(messages, saved) {
      outbox?.written(messages, saved)
      hint()
    },
    onCancelled: () => relay.wake(),
    outgoing: outgoingPipeline({
      app,
      tenant,
      clock,
      serializers,
      inherit: settings.inheritHeaders,
      codecs: settings.codecs,
      wireFormat: settings.wireFormat,
      logger,
      steps: settings.outgoing,
      limitOf,
      systemOf,
      checkBodies,
    }),
  }
}

/** Units of this app; undefined without a unit of work. */
function appUnits<Tx>(
  { name: app, unitOfWork, savepoints, logger, clock }: Settings<Tx>,
  parts: Pick<UnitPorts<Tx>, 'ambient' | 'units' | 'relay' | 'outbox'>,
): RunUnit<Tx> | undefined {
  if (unitOfWork === undefined) return undefined
  return unitRunner({ app, unitOfWork, savepoints, logger, clock, ...parts })
}

/** Runs at most one time successfully. A failure is tried again by the next caller. */
function onlyOnce(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= work().catch((error: unknown) => {
      running = undefined
      throw error
    })
    return running
  }
}
