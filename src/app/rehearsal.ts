import { MersalError } from '../core/errors/errors.ts'
import { type MessageType, type OutgoingMessage, headerNames } from '../core/messages/message.ts'
import type { Delivery } from '../core/transport.ts'
import { uuidv7 } from '../lib/uuid.ts'
import { encodeBody } from './send/body.ts'
import { decode } from './receive/decode.ts'
import type { Ambient } from './unit/ambient.ts'
import type { Assembly } from './assembly.ts'
import { handleInUnit } from './receive/attempt.ts'
import { keptMessages } from './unit/savepoints.ts'
import { newSharing } from './receive/shared/sharing.ts'
import { Unit } from './unit/unit.ts'

/**
 * Runs the work in a real unit, with every check that comes before a commit, then rolls back;
 * returns what it would have stored.
 */
export async function rehearse<Tx>(
  parts: Assembly<Tx>,
  work: (unit: Unit<Tx>, signal: AbortSignal) => Promise<void>,
  delivery?: Delivery,
): Promise<readonly OutgoingMessage[]> {
  const { runUnit, open, ambient, senders } = parts
  if (runUnit === undefined && senders.storage === undefined && delivery !== undefined)
    return rehearseHeld(ambient, work, delivery)
  if (runUnit === undefined)
    throw new MersalError(
      'MERSAL_INVALID_OPTIONS',
      'the app has no unit of work that could be rolled back',
    )
  await open()
  const rollback = new Error('a rehearsal is rolled back')
  let messages: readonly OutgoingMessage[] = []
  try {
    await runUnit({
      cause: delivery?.message,
      work: async (unit, signal) => {
        parts.rehearsed.add(unit)
        await work(unit, signal)
        messages = await keptMessages(parts.invoking.settings.savepoints, unit.tx, unit.close())
        throw rollback
      },
    })
  } catch (error) {
    if (error !== rollback) throw error
  }
  return messages
}

/**
 * Without an outbox nothing is published before the handler has succeeded, and here not afterwards
 * either.
 */
async function rehearseHeld<Tx>(
  ambient: Ambient<Tx>,
  work: (unit: Unit<Tx>, signal: AbortSignal) => Promise<void>,
  delivery: Delivery,
): Promise<readonly OutgoingMessage[]> {
  const unit = new Unit<Tx>(undefined as Tx, { cause: delivery.message })
  try {
    await ambient.run({ unit, cause: delivery.message }, () => work(unit, delivery.signal))
    return unit.close().map(({ message }) => message)
  } finally {
    unit.end()
  }
}

/** Rehearses one try of a handler, as if this body had arrived. */
export async function rehearseHandler<Tx>(
  parts: Assembly<Tx>,
  type: MessageType,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): Promise<readonly OutgoingMessage[]> {
  const delivery = deliveryOf(parts, type, body, headers)
  const registration = parts.handlers.get(type.name)
  const decoded = await decode(delivery, registration?.type, parts.invoking.settings.serializer)
  if (decoded.kind === 'reject') throw decoded.error
  if (registration === undefined)
    throw new MersalError('MERSAL_UNKNOWN_TYPE', `no handler for '${type.name}'`)
  const context = {
    delivery,
    body: decoded.body,
    registration,
    attempt: 1,
    sharing: newSharing(),
    signal: delivery.signal,
    onSkipped: () => {},
    reached: { stage: 'before' as const },
  }
  return rehearse(
    parts,
    (unit, signal) => handleInUnit(parts.invoking, context, unit, signal),
    delivery,
  )
}

function deliveryOf<Tx>(
  parts: Assembly<Tx>,
  type: MessageType,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): Delivery {
  const { serializer, clock, name } = parts.invoking.settings
  const id = uuidv7(clock.now())
  const own = { [headerNames.contentType]: serializer.contentType, [headerNames.correlationId]: id }
  const message = {
    id,
    type: type.name,
    headers: { ...own, ...headers },
    body: encodeBody(serializer, type, body),
  }
  return { message, queue: name, attempt: 1, signal: new AbortController().signal }
}
