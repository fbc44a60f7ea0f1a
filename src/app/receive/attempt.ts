import { errorText } from '../../core/errors/error-text.ts'
import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { IncomingContext } from '../../core/pipeline.ts'
import type { Disposition } from '../../core/transport.ts'
import { type TimeLimit, withTimeLimit } from './time-limit.ts'
import type { Ambient } from '../unit/ambient.ts'
import type { Registration } from './handlers.ts'
import { publishHeld } from '../send/held-sends.ts'
import { savepointNowhere } from '../unit/savepoints.ts'
import { createSender } from '../send/sender.ts'
import { noTransaction } from '../send/send-calls.ts'
import type { Stage } from './excuse.ts'
import type { Settings } from '../settings/settings.ts'
import type { Sharing } from './shared/sharing.ts'
import { endedByHandler, takeBack } from './shared/taking-back.ts'
import type { UnitSender } from '../types.ts'
import { Unit } from '../unit/unit.ts'
import type { UnitSenders } from '../unit/unit-senders.ts'
import type { RunUnit } from '../unit/run-unit.ts'

/** One attempt to handle one delivery. */
export interface Reception<Tx> extends IncomingContext {
  readonly registration: Registration<Tx>
  /** Counts tries over all deliveries, from 1. */
  readonly attempt: number
  readonly sharing: Sharing
  readonly signal: AbortSignal
  readonly onSkipped: () => void
  /** How far this try has come. */
  readonly reached: { stage: Stage }
}

export interface InvokePorts<Tx> {
  readonly settings: Settings<Tx>
  readonly ambient: Ambient<Tx>
  /** Undefined for an app without a database. */
  readonly runUnit: RunUnit<Tx> | undefined
  readonly senders: UnitSenders<Tx>
}

export const ack: Disposition = { kind: 'ack' }

/** The inside of the incoming pipeline: unit of work, message tracker, handler, flush, commit. */
export async function invoke<Tx>(
  ports: InvokePorts<Tx>,
  context: Reception<Tx>,
): Promise<Disposition> {
  if (ports.runUnit === undefined) await invokeLoose(ports, context)
  else await invokeInUnit(ports, ports.runUnit, context)
  return ack
}

/** One attempt in a unit of its own. */
export async function invokeInUnit<Tx>(
  ports: InvokePorts<Tx>,
  runUnit: RunUnit<Tx>,
  context: Reception<Tx>,
): Promise<void> {
  const { delivery, signal, reached } = context
  let recorded: Tx | undefined
  const onRecorded = (tx: Tx): void => {
    recorded = tx
  }
  reached.stage = 'opening'
  try {
    await runUnit({
      cause: delivery.message,
      signal,
      limit: limitOf(ports, context),
      work: (unit, unitSignal) => handleInUnit(ports, { ...context, onRecorded }, unit, unitSignal),
    })
  } catch (error) {
    if (recorded === undefined) throw error
    const wasCommitted = await takeBack(
      ports.settings,
      { tx: recorded, messageIds: [delivery.message.id] },
      signal,
    )
    throw wasCommitted && !isMersalError(error, 'MERSAL_TRANSACTION_ENDED')
      ? endedByHandler(error)
      : error
  }
  reached.stage = 'done'
}

/** One attempt inside an open unit: the inbox row first, then the handler. */
export async function handleInUnit<Tx>(
  ports: InvokePorts<Tx>,
  context: Reception<Tx> & { readonly onRecorded?: (tx: Tx) => void },
  unit: Unit<Tx>,
  signal: AbortSignal,
): Promise<void> {
  const { tracker, onDuplicate, name } = ports.settings
  const { message } = context.delivery
  context.reached.stage = 'recording'
  const known =
    (await tracker?.track(unit.tx, { consumer: name, messageId: message.id })) === 'duplicate'
  if (known && onDuplicate === 'skip') return context.onSkipped()
  if (!known) context.onRecorded?.(unit.tx)
  context.reached.stage = 'handling'
  await callHandler(context, {
    tx: unit.tx,
    duplicate: known,
    signal,
    give: (fields) => ports.senders.make(unit, fields),
  })
  context.reached.stage = 'committing'
}

/**
 * One attempt without a database. Without an outbox, what the handler sends is held until it has
 * succeeded, then published; only then is the delivery acknowledged. Where there is an outbox, but
 * no unit of work of ours, the handler sends within a transaction that it opens itself.
 */
async function invokeLoose<Tx>(ports: InvokePorts<Tx>, context: Reception<Tx>): Promise<void> {
  const { logger, name: app, storage, transports } = ports.settings
  const { message } = context.delivery
  const unit = storage === undefined ? new Unit<Tx>(undefined as Tx, { cause: message }) : undefined
  const give: Call<Tx>['give'] = (fields) =>
    unit === undefined
      ? { ...createSender(noTransaction), savepoint: savepointNowhere, ...fields }
      : ports.senders.make(unit, { savepoint: savepointNowhere, ...fields })
  const work = (signal: AbortSignal): Promise<void> =>
    ports.ambient.run({ unit, cause: message }, () =>
      callHandler(context, { tx: undefined as Tx, duplicate: false, signal, give }),
    )
  let held: readonly OutgoingMessage[] = []
  try {
    await withTimeLimit(limitOf(ports, context), context.signal, work, (error) => {
      logger.debug(
        { app, id: message.id, error: errorText(error) },
        'a handler that had been given up failed later',
      )
    })
    held = unit?.close().map((captured) => captured.message) ?? []
  } finally {
    unit?.end()
  }
  await publishHeld(transports, held, context.signal)
}

export interface Call<Tx> {
  readonly tx: Tx
  readonly duplicate: boolean
  readonly signal: AbortSignal
  /** Puts a sender beside the fields. */
  readonly give: <Fields extends object>(fields: Fields) => Fields & UnitSender
}

/** What a handler of this attempt gets, given the transaction. */
export async function callHandler<Tx>(
  context: Reception<Tx>,
  { tx, duplicate, signal, give }: Call<Tx>,
): Promise<void> {
  const { registration, delivery, attempt, body } = context
  await registration.handler(
    body,
    give({ tx, message: delivery.message, attempt, duplicate, signal }),
  )
}

/** The time that one handler may take. */
export function limitOf<Tx>(
  { settings }: InvokePorts<Tx>,
  { registration }: Reception<Tx>,
): TimeLimit {
  const ms = settings.receive.handlerTimeoutMs
  const text = `the handler of '${registration.type.name}' took longer than ${ms} ms: raise receive.handlerTimeoutMs, or do less at a time`
  const error = (): MersalError => {
    const shortage = settings.units?.shortage()
    return new MersalError(
      'MERSAL_HANDLER_TIMEOUT',
      shortage === undefined ? text : `${text}. ${shortage}`,
    )
  }
  return { ms, clock: settings.clock, error }
}
