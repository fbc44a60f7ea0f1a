import { MersalError } from '../core/errors/errors.ts'
import {
  type MessageType,
  type OutgoingMessage,
  headerNames,
  mainTransport,
} from '../core/messages/message.ts'
import type { Delivery } from '../core/transport.ts'
import { type GivingUp, linkAbort } from '../lib/async/linked-abort.ts'
import { uuidv7 } from '../lib/uuid.ts'
import type { Assembly } from './assembly.ts'
import { attemptsInUnits } from './receive/alone.ts'
import type { Reception } from './receive/attempt.ts'
import { decode } from './receive/decode.ts'
import { newSharing } from './receive/shared/sharing.ts'
import { attemptWithoutDatabase } from './receive/without-database.ts'
import { encodeBody } from './send/body.ts'
import type { Settings } from './settings/settings.ts'
import { keptMessages } from './unit/savepoints.ts'
import { Unit } from './unit/unit.ts'

type Work<Tx> = (unit: Unit<Tx>, givingUp: Pick<GivingUp, 'signal'>) => Promise<void>

/**
 * Runs the work in a real unit, with every check that comes before a commit, then rolls back.
 * Returns what it would have stored.
 */
export async function rehearse<Tx>(
  { attempts, transactions, open }: Assembly<Tx>,
  work: Work<Tx>,
  delivery?: Delivery,
): Promise<readonly OutgoingMessage[]> {
  const { settings, runUnit } = attempts
  if (runUnit === undefined) {
    if (settings.storage === undefined && delivery !== undefined)
      return rehearseHeld(work, delivery)
    const text = 'the app has no unit of work that could be rolled back'
    throw new MersalError('MERSAL_INVALID_OPTIONS', text)
  }
  await open()
  const rollback = new Error('a rehearsal is rolled back')
  let messages: readonly OutgoingMessage[] = []
  try {
    await runUnit({
      cause: delivery?.message,
      work: async (unit, givingUp) => {
        transactions.noteRehearsed(unit)
        await work(unit, givingUp)
        messages = await keptMessages(settings.savepoints, unit.tx, unit.close())
        throw rollback
      },
    })
  } catch (error) {
    if (error !== rollback) throw error
  }
  return messages
}

/** Without an outbox nothing is published before the handler has succeeded; here, not at all. */
async function rehearseHeld<Tx>(
  work: Work<Tx>,
  delivery: Delivery,
): Promise<readonly OutgoingMessage[]> {
  const unit = new Unit<Tx>(undefined as Tx, { cause: delivery.message })
  try {
    await work(unit, delivery)
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
  const { settings, handlers, attempts } = parts
  const delivery = deliveryOf(settings, type, body, headers)
  const registration = handlers.get(type.name)
  const decoded = await decode(delivery, registration?.type, settings)
  if (decoded.kind === 'reject') throw decoded.error
  if (registration === undefined)
    throw new MersalError('MERSAL_UNKNOWN_TYPE', `no handler for '${type.name}'`)
  const reception: Reception<Tx> = {
    delivery,
    transport: mainTransport,
    body: decoded.body,
    registration,
    attempt: 1,
    sharing: newSharing,
    givingUp: linkAbort(delivery.signal),
    signal: delivery.signal,
    progress: { stage: 'before', skipped: false, repeat: undefined },
  }
  const work: Work<Tx> =
    attempts.runUnit === undefined
      ? (unit, { signal }) => attemptWithoutDatabase(attempts, reception, unit, signal)
      : attemptsInUnits(attempts, reception)
  return rehearse(parts, work, delivery)
}

function deliveryOf<Tx>(
  { serializers, clock, name }: Settings<Tx>,
  type: MessageType,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): Delivery {
  const id = uuidv7(clock.now())
  const serializer = serializers.of(type)
  const own = {
    [headerNames.contentType]: serializer.contentType,
    [headerNames.correlationId]: id,
    ...(type.version === undefined ? {} : { [headerNames.version]: String(type.version) }),
  }
  const message = {
    id,
    type: type.name,
    headers: { ...own, ...headers },
    body: encodeBody(serializer, type, body),
  }
  return { message, queue: name, attempt: 1, signal: new AbortController().signal }
}
