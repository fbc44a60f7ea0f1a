import type { SharedUnits } from '../../../core/store.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { emit } from '../../../core/telemetry.ts'
import { linkAbortOfAll } from '../../../lib/async/linked-abort.ts'
import { type Call, type InvokePorts, type Reception, callHandler, limitOf } from '../attempt.ts'
import { takeBack } from './taking-back.ts'
import { Unit } from '../../unit/unit.ts'
import type { RunUnit } from '../../unit/run-unit.ts'

/** A delivery in a shared unit. */
export interface Part<Tx> {
  readonly context: Reception<Tx>
  /**
   * Runs a function in the asynchronous context in which the delivery came: with the trace, the
   * tenant, whatever a step has put there.
   */
  readonly within: <Result>(work: () => Result) => Result
}

/** How far a shared unit has come. */
export type Progress =
  | { readonly stage: 'opening' }
  | { readonly stage: 'recording' }
  | Handling
  | { readonly stage: 'committing' }

export interface Handling {
  readonly stage: 'handling'
  /** Of the delivery whose handler was called last. */
  readonly index: number
  /** Monotonic milliseconds. */
  readonly beganAt: number
  /** Its handler; never rejects. */
  readonly ended: Promise<unknown>
}

export interface SharedOutcome {
  readonly progress: Progress
  /** The transaction ended before the unit did. */
  readonly over: boolean
  /** It was committed by a handler. The inbox has forgotten all of the messages. */
  readonly committed: boolean
  /** Those whose handlers have been called. */
  readonly called: ReadonlySet<unknown>
  /** When the unit was given up, in monotonic milliseconds. */
  readonly givenUpAt: number | undefined
  /** Undefined: it has committed. */
  readonly failure: { readonly error: unknown } | undefined
}

export interface SharedPorts<Tx> extends InvokePorts<Tx> {
  readonly runUnit: RunUnit<Tx>
  readonly sharing: SharedUnits<Tx>
}

interface Shared<Tx> {
  readonly ports: SharedPorts<Tx>
  readonly parts: readonly Part<Tx>[]
  readonly skipped: Part<Tx>[]
  readonly called: Set<Part<Tx>>
  progress: Progress
  over: boolean
  givenUpAt: number | undefined
  tx: Tx | undefined
  answers: ('first' | 'duplicate')[]
  /** What the handlers, or the check after them, have failed with. */
  reason: unknown
}

const nothingYet = { over: false, givenUpAt: undefined, tx: undefined, reason: undefined }

/**
 * Handles several deliveries of one type in one transaction: all inbox rows in one statement where
 * the tracker can, the handlers one after the other, then all of their messages and the commit. It
 * goes on as long as the transport still holds one of them: of one that it has lost, the inbox will
 * know. Never rejects.
 */
export async function runShared<Tx>(
  ports: SharedPorts<Tx>,
  parts: readonly Part<Tx>[],
): Promise<SharedOutcome> {
  using link = linkAbortOfAll(parts.map(({ context }) => context.signal))
  for (const { context } of parts) context.reached.stage = 'opening'
  const shared: Shared<Tx> = {
    ports,
    parts,
    skipped: [],
    called: new Set(),
    progress: { stage: 'opening' },
    answers: [],
    ...nothingYet,
  }
  let outcome: SharedOutcome
  try {
    await ports.runUnit({
      signal: link.signal,
      limit: sharedLimit(ports, parts),
      work: (unit, signal) => handleAll(shared, unit, signal),
    })
    for (const { context } of shared.skipped) context.onSkipped()
    outcome = outcomeOf(shared)
  } catch (error) {
    // At this moment: a handler that was given up may go on, and change it.
    outcome = outcomeOf(shared, { error })
    outcome = { ...outcome, committed: await forget(shared) }
  }
  const { name: app } = ports.settings
  emit('mersal:batch', () => ({
    app,
    type: typeOf(parts),
    messages: parts.length,
    outcome: outcome.failure === undefined ? 'handled' : 'undone',
  }))
  return outcome
}

function outcomeOf<Tx>(
  { progress, over, called, givenUpAt }: Shared<Tx>,
  failure?: { readonly error: unknown },
): SharedOutcome {
  return { progress, over, called: new Set(called), givenUpAt, failure, committed: false }
}

export function typeOf<Tx>(parts: readonly Part<Tx>[]): string {
  return parts[0]?.context.registration.type.name ?? ''
}

async function handleAll<Tx>(
  shared: Shared<Tx>,
  unit: Unit<Tx>,
  signal: AbortSignal,
): Promise<void> {
  const { ports, parts } = shared
  // A store that repeats its work would call the handlers with bodies that they may have changed.
  if (shared.progress.stage !== 'opening')
    throw shared.reason ?? new MersalError('MERSAL_STORE_CONFLICT', 'a shared unit is not repeated')
  signal.addEventListener(
    'abort',
    () => void (shared.givenUpAt = ports.settings.clock.monotonic()),
    { once: true },
  )
  shared.progress = { stage: 'recording' }
  shared.tx = unit.tx
  const isKnown = await inbox(shared, unit.tx)
  const carried = ports.sharing.carry()
  for (const [index, part] of parts.entries()) {
    signal.throwIfAborted()
    if (ports.settings.tracker?.many === undefined) shared.progress = { stage: 'recording' }
    const duplicate = await isKnown(index)
    if (duplicate && ports.settings.onDuplicate === 'skip') {
      shared.skipped.push(part)
      continue
    }
    part.context.reached.stage = 'handling'
    shared.called.add(part)
    const running = part.within(() =>
      carried(() => handlePart(ports, unit, part, { duplicate, signal })),
    )
    shared.progress = {
      stage: 'handling',
      index,
      beganAt: ports.settings.clock.monotonic(),
      ended: running.catch(() => {}),
    }
    try {
      await running
      demandOpen(ports.sharing.state(unit.tx))
    } catch (error) {
      shared.reason = error
      shared.over = ports.sharing.state(unit.tx) === 'over'
      throw error
    }
  }
  shared.progress = { stage: 'committing' }
}

/**
 * Nobody may go on in a transaction that a handler has ended, or in which a statement has failed.
 */
function demandOpen(state: ReturnType<SharedUnits<never>['state']>): void {
  if (state === 'open') return
  const why =
    state === 'over'
      ? 'ended the transaction, or let a failure end it'
      : 'caught the error of a statement that had failed'
  throw new MersalError('MERSAL_ROLLED_BACK', `a handler ${why}`)
}

/**
 * In a unit of its own on the same transaction, so that what it sends carries its message as the
 * cause.
 */
async function handlePart<Tx>(
  ports: InvokePorts<Tx>,
  whole: Unit<Tx>,
  { context }: Part<Tx>,
  { duplicate, signal }: { readonly duplicate: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const { message } = context.delivery
  const unit = new Unit(whole.tx, {
    cause: message,
    whole,
    level: () => ports.ambient.getStore()?.level,
  })
  try {
    const give: Call<Tx>['give'] = (fields) => ports.senders.make(unit, fields)
    await ports.ambient.run({ unit, cause: message }, () =>
      callHandler(context, { tx: whole.tx, duplicate, signal, give }),
    )
    whole.adopt(unit)
  } finally {
    unit.end()
  }
}

/**
 * Whether each of the messages, no two of which have the same id, has been handled before: all at
 * once where the tracker can, else each before its turn.
 */
async function inbox<Tx>(shared: Shared<Tx>, tx: Tx): Promise<(index: number) => Promise<boolean>> {
  const { tracker, name: consumer } = shared.ports.settings
  const messageIds = idsOf(shared.parts)
  if (tracker === undefined) return () => Promise.resolve(false)
  if (tracker.many === undefined) {
    return async (index) => {
      const answer = await tracker.track(tx, { consumer, messageId: messageIds[index] as string })
      shared.answers[index] = answer
      return answer === 'duplicate'
    }
  }
  const answers = await tracker.many.track(tx, { consumer, messageIds })
  shared.answers = [...answers]
  if (answers.length !== messageIds.length) {
    const text = `the tracker gave ${answers.length} answers for ${messageIds.length} ids: give one for each, in their order`
    throw new MersalError('MERSAL_STORE_FAILED', text)
  }
  return (index) => Promise.resolve(answers[index] === 'duplicate')
}

const idsOf = <Tx>(parts: readonly Part<Tx>[]): string[] =>
  parts.map(({ context }) => context.delivery.message.id)

/**
 * If a handler had committed the transaction all the same, which the client does not always tell,
 * nobody's record may stay.
 */
async function forget<Tx>({ ports, parts, progress, tx, answers }: Shared<Tx>): Promise<boolean> {
  if (progress.stage === 'opening' || tx === undefined) return false
  using link = linkAbortOfAll(parts.map(({ context }) => context.signal))
  const messageIds = idsOf(parts.filter((_, index) => answers[index] === 'first'))
  return await takeBack(ports.settings, { tx, messageIds }, link.signal)
}

function sharedLimit<Tx>(
  ports: InvokePorts<Tx>,
  parts: readonly Part<Tx>[],
): ReturnType<typeof limitOf<Tx>> {
  const one = limitOf(ports, parts[0]?.context as Reception<Tx>)
  const text = `${parts.length} messages of '${typeOf(parts)}' in one transaction took longer than ${one.ms} ms: lower batch in handle(), or raise receive.handlerTimeoutMs`
  return { ...one, error: () => new MersalError('MERSAL_HANDLER_TIMEOUT', text) }
}
