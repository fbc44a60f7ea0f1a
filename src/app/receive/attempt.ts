import { MersalError } from '../../core/errors/errors.ts'
import { expired, isExpired } from '../../core/messages/expiry.ts'
import type { IncomingContext } from '../../core/pipeline.ts'
import { type Operations, shown, traced } from '../../core/traced.ts'
import type { Delivery } from '../../core/transport.ts'
import type { InFlight } from '../../lib/async/in-flight.ts'
import type { GivingUp, LinkedAbort } from '../../lib/async/linked-abort.ts'
import { withReply } from '../requests/replying.ts'
import type { UnitSender } from '../types.ts'
import type { Ambient } from '../unit/ambient.ts'
import type { OpenUnits } from '../unit/open-units.ts'
import type { RunUnit } from '../unit/run-unit.ts'
import type { TimeLimit } from '../unit/time-limit.ts'
import type { UnitSenders } from '../unit/unit-senders.ts'
import type { Settings } from '../settings/settings.ts'
import type { Registration } from './handlers.ts'
import type { Repeat, Sharing } from './shared/sharing.ts'
import type { Stage } from './store-away/excuse.ts'

/** How far one try has come, and what came of it. */
export interface Progress {
  stage: Stage
  /** The message is a duplicate, and no handler was called. */
  skipped: boolean
  /** Set if the try was undone only because others shared its transaction. */
  repeat: Repeat | undefined
}

export const newProgress = (): Progress => ({ stage: 'before', skipped: false, repeat: undefined })

/** Where a delivery came from. */
export interface Origin {
  /** Name of the transport in this app. */
  readonly transport: string
  /** Name of the broker. */
  readonly system: string
}

/** A delivery in hand. */
export interface InHand {
  readonly delivery: Delivery
  /** Name of the transport that it came by. */
  readonly transport: string
  /** Aborts when the transport has lost the delivery, and when the app is stopped by force. */
  readonly link: LinkedAbort
  /** What runs inside the steps of the user, which may end before it does. */
  readonly inside: InFlight
  /** Number of the present try. */
  attempt: number
  /** Of the present try. */
  progress: Progress
  /** For those who listen. */
  readonly facts: Operations['receive'] | undefined
}

/** One try to handle one delivery. */
export interface Reception<Tx> extends IncomingContext {
  /** Name of the transport that it came by. */
  readonly transport: string
  readonly registration: Registration<Tx>
  /** Counts tries over all deliveries of the message, from 1. */
  readonly attempt: number
  readonly sharing: Sharing
  readonly givingUp: GivingUp
  /** As `givingUp`; made when it is first asked for. */
  readonly signal: AbortSignal
  readonly progress: Progress
}

export interface AttemptPorts<Tx> {
  readonly settings: Settings<Tx>
  readonly ambient: Ambient<Tx>
  /** Undefined for an app without a database. */
  readonly runUnit: RunUnit<Tx> | undefined
  readonly senders: UnitSenders<Tx>
  readonly units: Pick<OpenUnits<Tx>, 'run'>
}

/** Makes the context of a handler: these fields beside a sender. */
export type WithSender = <Fields extends object>(fields: Fields) => Fields & UnitSender

/** The unit that one attempt runs in. */
export interface AttemptUnit<Tx> {
  readonly tx: Tx
  readonly signal: AbortSignal
  /** Calls the handler in this unit. */
  readonly call: (handler: (withSender: WithSender) => Promise<void>) => Promise<void>
}

type AttemptSettings<Tx> = Pick<
  Settings<Tx>,
  'name' | 'tenant' | 'onDuplicate' | 'clock' | 'tracker'
>

/**
 * One attempt in an open unit: the inbox first, then whether the message has expired, then the
 * handler. The same for a message alone, for one that shares its transaction, for a rehearsal, and
 * for an app without a database.
 */
export async function attempt<Tx>(
  { registration, delivery, transport, body, attempt: number, progress }: Reception<Tx>,
  { tx, signal, call }: AttemptUnit<Tx>,
  isDuplicate: () => Promise<boolean>,
  { name: app, tenant, onDuplicate, clock, tracker }: AttemptSettings<Tx>,
): Promise<void> {
  const { message } = delivery
  const isOver = (): boolean => isExpired(message, clock.now())
  progress.stage = 'recording'
  const duplicate = await isDuplicate()
  if (duplicate && (onDuplicate === 'skip' || isOver())) {
    progress.skipped = true
    return
  }
  progress.stage = 'handling'
  const fields = { tx, tenant, message, attempt: number, duplicate, signal }
  await call(async (withSender) => {
    // The last moment: the store, the steps of the user and other handlers may have taken long.
    if (isOver()) throw expired(message, tracker === undefined ? UNKNOWN : '')
    await traced(
      'handle',
      () => ({ app, queue: delivery.queue, message: shown(message), attempt: number }),
      () => registration.handler(body, withReply(withSender(fields), transport)),
    )
  })
  progress.stage = 'committing'
}

const UNKNOWN = ' (it may have been handled before: without an inbox nobody knows)'

/** The time that one handler may take. */
export function handlerLimit<Tx>(
  { receive, units, clock }: Settings<Tx>,
  { type }: Registration<Tx>,
): TimeLimit {
  const ms = receive.handlerTimeoutMs
  const text = `the handler of '${type.name}' took longer than ${ms} ms: raise receive.handlerTimeoutMs, or do less at a time`
  const error = (): MersalError => {
    const shortage = units?.shortage()
    const why = shortage === undefined ? text : `${text}. ${shortage}`
    return new MersalError('MERSAL_HANDLER_TIMEOUT', why)
  }
  return { ms, clock, error }
}
