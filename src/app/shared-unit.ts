import { emit } from '../core/telemetry.ts'
import { MersalError } from '../core/errors.ts'
import { trackAll } from '../core/tracker.ts'
import { linkAbort } from '../lib/linked-abort.ts'
import { type InvokePorts, type Reception, callHandler, limitOf } from './invoke.ts'
import { Unit } from './unit.ts'
import type { RunUnit } from './units.ts'

/** A delivery in a shared unit. */
export interface Part<Tx> {
  readonly context: Reception<Tx>
  /** Runs a function in the asynchronous context in which the delivery came, which may hold the trace of its sender. */
  readonly within: <Result>(work: () => Result) => Result
}

/** How far a shared unit has come. */
export type Progress =
  | { readonly stage: 'opening' }
  | { readonly stage: 'recording' }
  /** `index`: of the delivery whose handler was called last. */
  | { readonly stage: 'handling'; readonly index: number }
  | { readonly stage: 'committing' }

export interface SharedOutcome {
  readonly progress: Progress
  /** Undefined: it has committed. */
  readonly failure: { readonly error: unknown } | undefined
}

/**
 * Handles several deliveries of one type in one transaction: all inbox rows in one statement, then
 * the handlers, one after the other, then all of their messages and the commit. Never rejects.
 */
export async function runShared<Tx>(ports: InvokePorts<Tx>, runUnit: RunUnit<Tx>, parts: readonly Part<Tx>[]): Promise<SharedOutcome> {
  using link = linkAbort(...parts.map(({ context }) => context.signal))
  const shared: Shared<Tx> = { ports, parts, progress: { stage: 'opening' }, skipped: [] }
  let failure: SharedOutcome['failure']
  try {
    await runUnit({ signal: link.signal, limit: sharedLimit(ports, parts), work: (unit, signal) => handleAll(shared, unit, signal) })
    for (const { context } of shared.skipped) context.onSkipped()
  } catch (error) {
    failure = { error }
  }
  const { name: app } = ports.settings
  const type = parts[0]?.context.registration.type.name ?? ''
  emit('mersal:batch', () => ({ app, type, messages: parts.length, outcome: failure === undefined ? 'handled' : 'split' }))
  return { progress: shared.progress, failure }
}

interface Shared<Tx> {
  readonly ports: InvokePorts<Tx>
  readonly parts: readonly Part<Tx>[]
  progress: Progress
  skipped: Part<Tx>[]
}

async function handleAll<Tx>(shared: Shared<Tx>, unit: Unit<Tx>, signal: AbortSignal): Promise<void> {
  const { ports, parts } = shared
  // Anew if the store repeats the work after a rollback.
  shared.skipped = []
  shared.progress = { stage: 'recording' }
  const known = await knownOnes(ports, unit.tx, parts)
  for (const [index, part] of parts.entries()) {
    signal.throwIfAborted()
    shared.progress = { stage: 'handling', index }
    if (known[index] === true && ports.settings.onDuplicate === 'skip') shared.skipped.push(part)
    else await handlePart(ports, unit, part, { duplicate: known[index] === true, signal })
  }
  shared.progress = { stage: 'committing' }
}

/** In a unit of its own on the same transaction, so that what it sends carries its message as the cause. */
async function handlePart<Tx>(
  ports: InvokePorts<Tx>,
  whole: Unit<Tx>,
  { context, within }: Part<Tx>,
  { duplicate, signal }: { readonly duplicate: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const { message } = context.delivery
  const unit = new Unit(whole.tx, message, whole)
  try {
    const call = ports.unitCall(unit)
    await within(() => ports.ambient.run({ unit, cause: message }, () => callHandler(context, { tx: whole.tx, duplicate, signal, call })))
    whole.adopt(unit)
  } finally {
    unit.end()
  }
}

/** Whether each of the messages, no two of which have the same id, has been handled before. */
async function knownOnes<Tx>({ settings }: InvokePorts<Tx>, tx: Tx, parts: readonly Part<Tx>[]): Promise<readonly boolean[]> {
  const { tracker, name: consumer } = settings
  if (tracker === undefined) return parts.map(() => false)
  const answers = await trackAll(tracker, tx, { consumer, messageIds: parts.map(({ context }) => context.delivery.message.id) })
  return answers.map((answer) => answer === 'duplicate')
}

function sharedLimit<Tx>(ports: InvokePorts<Tx>, parts: readonly Part<Tx>[]): ReturnType<typeof limitOf<Tx>> {
  const context = parts[0]?.context
  const one = limitOf(ports, context as Reception<Tx>)
  const text = `${parts.length} messages of '${context?.registration.type.name}' in one transaction took longer than ${one.ms} ms: lower batch in handle(), or raise receive.handlerTimeoutMs`
  return { ...one, error: () => new MersalError('MERSAL_HANDLER_TIMEOUT', text) }
}
