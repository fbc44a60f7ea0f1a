import type { Envelope } from '../core/messages/message.ts'
import { outgoingPipeline } from './send/outgoing.ts'
import { type Ambient, createAmbient } from './unit/ambient.ts'
import { handlerUnits, mostHandlerUnits } from './unit/handler-capacity.ts'
import { Handlers } from './receive/handlers.ts'
import type { InvokePorts } from './receive/attempt.ts'
import { Machinery } from './runtime.ts'
import { OpenUnits } from './unit/open-units.ts'
import { storeGate } from './receive/probe.ts'
import { Receiver } from './receive/receiver.ts'
import type { RoutingFacts } from './send/routing.ts'
import type { SendCall } from './send/sender.ts'
import { type SenderPorts, directCall, noTransaction } from './send/send-calls.ts'
import type { Settings } from './settings/settings.ts'
import { type StraightOutbox, straightOutbox } from './unit/queue-beside-outbox.ts'
import { Subscriptions } from './receive/subscriptions.ts'
import { type UnitSenders, unitSenders } from './unit/unit-senders.ts'
import type { Unit } from './unit/unit.ts'
import { type RunUnit, unitRunner } from './unit/run-unit.ts'
import { wakeHints } from '../lib/async/wake-hints.ts'

/** The parts of an app, put together. */
export interface Assembly<Tx> {
  readonly ambient: Ambient<Tx>
  readonly handlers: Handlers<Tx>
  readonly senders: SenderPorts<Tx>
  readonly unitSenders: UnitSenders<Tx>
  readonly units: OpenUnits<Tx>
  /** Units that will be rolled back whatever they come to. */
  readonly rehearsed: WeakSet<Unit<Tx>>
  readonly subscriptions: Subscriptions
  readonly receiver: Receiver<Tx>
  readonly machinery: Machinery<Tx>
  /** Undefined without a database. */
  readonly runUnit: RunUnit<Tx> | undefined
  /** Opens the store, once. */
  readonly open: () => Promise<void>
  /**
   * What a send outside of any unit means: to the broker without an outbox, else
   * `MERSAL_NO_TRANSACTION`.
   */
  readonly looseCall: (cause: Envelope | undefined) => SendCall
  readonly invoking: InvokePorts<Tx>
}

/** Puts the parts of an app together; nothing runs yet. */
export function assemble<Tx>(settings: Settings<Tx>): Assembly<Tx> {
  const ambient = createAmbient<Tx>()
  const handlers = new Handlers<Tx>(settings)
  const units = new OpenUnits<Tx>()
  const queue = settings.sendOnly ? undefined : settings.name
  const routing = {
    ownQueue: queue,
    routes: settings.routes,
    handles: (type: string) => handlers.get(type) !== undefined,
  }
  const subscriptions = new Subscriptions({
    queue,
    transports: settings.transports,
    routing,
    handlers,
  })
  const outbox =
    settings.storage === undefined ? undefined : straightOutbox(settings.storage, settings)
  const senders = senderPorts(settings, outbox, routing, () => hint())
  const looseCall = (cause: Envelope | undefined): SendCall =>
    settings.storage === undefined ? directCall(senders, cause) : noTransaction
  const runUnit = countedUnits(settings, outbox, ambient, units, () => machinery.relay)
  const handling = runUnit && handlerUnits(runUnit, mostHandlerUnits(settings.units))
  const invoking: InvokePorts<Tx> = {
    settings,
    ambient,
    runUnit: handling,
    senders: unitSenders(senders, { ambient, savepoints: settings.savepoints }),
  }
  const gate = storeGate(settings)
  const receiver = new Receiver({ ...invoking, handlers, gate })
  const open = once(async () => {
    await settings.store?.open()
    await outbox?.link()
  })
  const machinery = new Machinery<Tx>({
    settings,
    subscriptions,
    open,
    deliver: (delivery) => receiver.deliver(delivery),
    idle: async () => {
      await receiver.idle()
      await units.idle()
    },
    stopWaiting: () => receiver.stopWaiting(),
    abort: (reason) => {
      receiver.abort(reason)
      units.abort(reason)
    },
  })
  const wake = (): void => {
    machinery.relay?.wake()
    outbox?.remind()
  }
  const hint = wakeHints(settings.clock, wake, machinery.closing)
  const made = {
    ambient,
    handlers,
    senders,
    unitSenders: invoking.senders,
    units,
    rehearsed: new WeakSet<Unit<Tx>>(),
    subscriptions,
    receiver,
    machinery,
  }
  return { ...made, runUnit, open, looseCall, invoking }
}

function senderPorts<Tx>(
  settings: Settings<Tx>,
  outbox: StraightOutbox<Tx> | undefined,
  routing: RoutingFacts,
  hint: () => void,
): SenderPorts<Tx> {
  const {
    name: app,
    logger,
    transports,
    clock,
    serializer,
    outgoing: steps,
    checkBodies,
  } = settings
  const limitOf = (transport: string): number =>
    transports.get(transport)?.features.maxMessageBytes ?? 0
  const onForeignRows: SenderPorts<Tx>['onForeignRows'] = (messages, saved) => {
    outbox?.written(messages, saved)
    hint()
  }
  return {
    app,
    logger,
    transports,
    storage: outbox?.storage,
    routing,
    onForeignRows,
    outgoing: outgoingPipeline({ app, clock, serializer, steps, limitOf, checkBodies }),
  }
}

/** Units of this app, counted, and given up when the app is stopped by force. */
function countedUnits<Tx>(
  { name: app, unitOfWork, savepoints, logger, clock }: Settings<Tx>,
  outbox: StraightOutbox<Tx> | undefined,
  ambient: Ambient<Tx>,
  units: OpenUnits<Tx>,
  relay: () => Machinery<Tx>['relay'],
): RunUnit<Tx> | undefined {
  if (outbox === undefined || unitOfWork === undefined) return undefined
  return unitRunner({ app, ambient, unitOfWork, savepoints, outbox, relay, units, logger, clock })
}

/** Runs at most one time successfully; a failure is tried again by the next caller. */
function once(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= work().catch((error: unknown) => {
      running = undefined
      throw error
    })
    return running
  }
}
