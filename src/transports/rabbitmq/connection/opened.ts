import type { Message } from 'amqplib'
import { toError } from '../../../lib/async/abort.ts'
import type { Envelope } from '../../../core/messages/message.ts'
import { BUNDLE_CONTENT_TYPE, decodeBundle } from '../bundles/bundle-format.ts'
import { ownHeaders, toProperties, withoutTransient } from '../publish/envelope.ts'
import type { Answer, Hold, Settler } from '../consume/settle.ts'

export function isBundle({ properties }: Pick<Message, 'properties'>): boolean {
  return properties.contentType === BUNDLE_CONTENT_TYPE
}

/** A message of a bundle as if it had come by itself, with these headers of our own. */
function memberMessage<Whole extends Message>(
  whole: Whole,
  envelope: Envelope,
  own: Readonly<Record<string, unknown>>,
): Whole {
  const properties = toProperties(envelope)
  const headers = { ...withoutTransient(properties.headers as Record<string, unknown>), ...own }
  return {
    ...whole,
    fields: { ...whole.fields, redelivered: false },
    content: envelope.body,
    properties: { ...properties, headers },
  }
}

/** The messages of a bundle, if it is one and can be opened. */
export function membersOf<Whole extends Message>(
  whole: Whole,
  own: Readonly<Record<string, unknown>>,
): readonly Whole[] | undefined {
  if (!isBundle(whole)) return undefined
  try {
    return decodeBundle(whole.content).map((envelope) => memberMessage(whole, envelope, own))
  } catch {
    // Then it counts as one message, with its bytes.
    return undefined
  }
}

export interface OpeningPorts {
  readonly settler: Settler
  /** Handles and settles one message when its turn comes. */
  readonly inTurn: (hold: Hold) => Promise<void>
  /** Deliveries that did not end after which the messages go on separately. */
  readonly apartAfter: number
}

const weight: Readonly<Record<Answer, number>> = { ack: 0, requeue: 1, 'pass-on': 2 }

/**
 * Handles the messages of a bundle, each as if it had come by itself. The bundle is
 * settled at the broker when all of them are settled; until then they are all its own.
 */
export async function handleBundle(
  whole: Hold,
  { settler, inTurn, apartAfter }: OpeningPorts,
): Promise<void> {
  let envelopes: readonly Envelope[]
  try {
    envelopes = decodeBundle(whole.message.content)
  } catch (thrown) {
    return settler.settle(whole, { kind: 'reject', reason: 'undecodable', error: toError(thrown) })
  }
  const { base, again, counted: attempt } = whole.arrival
  const ended = endOf(whole, envelopes.length)
  const members = envelopes.map((envelope): Hold => {
    const message = memberMessage(whole.message, envelope, { [ownHeaders.attempt]: attempt })
    const arrival = { queue: whole.queue, message, again, base, counted: attempt }
    return { ...whole, message, arrival, known: settler.deliveries.meet(arrival), answer: ended }
  })
  const unended = attempt - base
  // One of them may be what ends the process each time; its neighbours must not be charged for it.
  const left = unended < apartAfter ? members : await notMoved(members, settler)
  await Promise.all(left.map(inTurn))
}

/**
 * Each one goes to the end of the queue by itself. What cannot be moved now is handled as it came:
 * a broker without memory takes nothing.
 */
async function notMoved(members: readonly Hold[], settler: Settler): Promise<readonly Hold[]> {
  const moved = await Promise.all(members.map((member) => settler.moveApart(member)))
  return members.filter((_, index) => moved[index] === false)
}

/** One answer for all: gone if all are gone, else back. */
function endOf({ answer }: Hold, count: number): (how: Answer) => void {
  let open = count
  let all: Answer = 'ack'
  return (how) => {
    if (weight[how] > weight[all]) all = how
    open--
    if (open === 0) answer(all)
  }
}
