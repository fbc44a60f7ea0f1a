import { setTimeout as wait } from 'node:timers/promises'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Delivery, Disposition } from '../../src/core/transport.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
import { again, destinationOf, missing, sendBeside, type Sent } from '../scenarios/sending.ts'
import { redis, type RedisOptions } from '../../src/redis.ts'

/** Short times, so that a fault of seconds is long. */
export const hasty: RedisOptions = {
  visibilityMs: 2000,
  confirmTimeoutMs: 1500,
  connectTimeoutMs: 1500,
  confirm: 'written',
  logger: false,
}

export const numbered = (count: number, queue: string, topic: string): OutgoingMessage[] =>
  Array.from({ length: count }, (_, index) => ({
    id: uuidv7(Date.now()),
    type: 'traffic.message',
    headers: { number: String(index) },
    body: Buffer.from(`{"number":${index}}`),
    partitionKey: `key-${index % 5}`,
    to: destinationOf(index, { queue, topic }),
  }))

export interface Traffic extends Sent {
  /** How often each id was handled to its end. */
  readonly handled: ReadonlyMap<string, number>
  readonly missing: readonly string[]
  readonly again: number
}

/** Commands and events between two transports while something goes wrong. */
export async function traffic(plan: {
  readonly url: string
  readonly options?: RedisOptions
  readonly messages: number
  readonly fault: (running: { readonly sent: () => number }) => Promise<void>
}): Promise<Traffic> {
  const options = { url: plan.url, ...hasty, ...plan.options }
  await using sender = redis(options)
  await using receiver = redis(options)
  const [queue, topic] = ['traffic.queue', 'traffic.topic']
  await receiver.subscribe(queue, [topic])
  const handled = new Map<string, number>()

  async function handle({ message, attempt }: Delivery): Promise<Disposition> {
    await wait(5)
    if (Number(message.headers['number']) % 10 === 0 && attempt === 1)
      return { kind: 'retry', delayMs: 50, error: new Error('once more') }
    handled.set(message.id, (handled.get(message.id) ?? 0) + 1)
    return { kind: 'ack' }
  }

  await using _consumption = await receiver.consume({ queue, concurrency: 20 }, handle)
  const messages = numbered(plan.messages, queue, topic)
  const sent = await sendBeside((count) => plan.fault({ sent: count }), sender, messages)
  for (;;) {
    const [overview] = await receiver.operations.queues({ names: [queue] })
    if (overview?.waiting === 0) break
    await wait(100)
  }
  const result = { ...sent, handled }
  return { ...result, missing: missing(result), again: again(result) }
}
