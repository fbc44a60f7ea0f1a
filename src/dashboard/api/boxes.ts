import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { mainTransport } from '../../core/messages/message.ts'
import type { LetterFilter } from '../../operate/letters.ts'
import { problem } from '../http/problem.ts'
import type { Source } from '../sources.ts'
import { type Call, type Field, partOf, sourceField, sourceOf, textOf } from './route.ts'

/** Which dead letters: outgoing ones, or with `queue` the incoming ones of that queue. */
export const boxFields: Readonly<Record<string, Field>> = {
  source: sourceField,
  queue: { kind: 'text', text: 'Incoming ones of this queue. Without it: outgoing ones.' },
  transport: { kind: 'text', text: "With queue: its transport. Default 'default'." },
}

export const filterFields: Readonly<Record<string, Field>> = {
  type: { kind: 'text', text: 'Only of this type.' },
  partitionKey: { kind: 'text', text: 'Only of this partition key.' },
  place: { kind: 'text', text: 'Only of this destination, or queue.' },
  reason: { kind: 'text', text: 'Only with this reason.' },
  text: {
    kind: 'text',
    most: 200,
    text: 'Only with this text in id, type, key, correlation id or error; case does not matter.',
  },
}

/** The box that is asked for. Throws a problem. */
export async function boxOf(call: Call): Promise<DeadLetterBox> {
  const source = await sourceOf(call)
  const queue = textOf(call, 'queue')
  if (queue === undefined) return partOf(source.store?.admin.deadLetters, 'dead letters')
  return await incomingBox(source, queue, textOf(call, 'transport') ?? mainTransport)
}

async function incomingBox(
  { transports }: Source,
  queue: string,
  name: string,
): Promise<DeadLetterBox> {
  const operations = transports.get(name)?.operations
  const box = operations?.deadLetters?.(queue)
  if (box === undefined)
    throw problem(404, 'no-queue', 'There is no such transport, or it cannot show dead letters.')
  // A name that is wrong is not taken for a queue without dead letters.
  const known = await operations?.queues?.({ names: [queue] })
  if (known !== undefined && !known.some((one) => one.queue === queue))
    throw problem(404, 'no-queue', 'There is no queue of this name.')
  return box
}

export interface Search extends LetterFilter {
  readonly text: string | undefined
}

export function searchOf(call: Call): Search {
  return {
    type: textOf(call, 'type'),
    partitionKey: textOf(call, 'partitionKey'),
    place: textOf(call, 'place'),
    reason: textOf(call, 'reason'),
    text: textOf(call, 'text')?.toLowerCase(),
  }
}
