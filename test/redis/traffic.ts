import { setTimeout as wait } from 'node:timers/promises'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Delivery, Disposition, PublishOutcome } from '../../src/core/transport.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
import { redis, type RedisOptions, type RedisTransport } from '../../src/redis.ts'

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
    to: {
      transport: 'default',
      ...(index % 3 === 0
        ? { kind: 'topic' as const, name: topic }
        : { kind: 'queue' as const, name: queue }),
    },
  }))

export interface Sent {
  /** When the confirm came, by `performance.now()`. */
  readonly confirmedAt: Map<string, number>
  unknown: number
  readonly refused: PublishOutcome[]
}

/** As a relay does: publishes each message until it is confirmed, with the same id. */
export async function sendUntilConfirmed(
  sender: RedisTransport,
  messages: readonly OutgoingMessage[],
  sent: Sent,
): Promise<void> {
  let open = messages
  while (open.length > 0) {
    const outcomes = await Promise.all(sender.publish(open))
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.kind === 'confirmed')
        sent.confirmedAt.set((open[index] as OutgoingMessage).id, performance.now())
      if (outcome.kind === 'unknown') sent.unknown++
      if (outcome.kind === 'refused') sent.refused.push(outcome)
    }
    open = open.filter((_, index) => outcomes[index]?.kind !== 'confirmed')
    const away = outcomes.find((outcome) => outcome.kind === 'unavailable')
    if (open.length > 0) await Promise.race([wait(200), away?.back ?? wait(200)])
  }
}

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
  const sent: Sent = { confirmedAt: new Map(), unknown: 0, refused: [] }

  async function handle({ message, attempt }: Delivery): Promise<Disposition> {
    await wait(5)
    if (Number(message.headers['number']) % 10 === 0 && attempt === 1)
      return { kind: 'retry', delayMs: 50, error: new Error('once more') }
    handled.set(message.id, (handled.get(message.id) ?? 0) + 1)
    return { kind: 'ack' }
  }

  await using _consumption = await receiver.consume({ queue, concurrency: 20 }, handle)
  const messages = numbered(plan.messages, queue, topic)
  let over = false
  const running = plan.fault({ sent: () => sent.confirmedAt.size }).finally(() => (over = true))
  for (let next = 0; next < messages.length; next += 25) {
    await sendUntilConfirmed(sender, messages.slice(next, next + 25), sent)
    // So that the fault meets traffic: the second half waits for its end.
    if (next >= messages.length / 2) await running
    else await wait(over ? 0 : 20)
  }
  await running
  for (;;) {
    const [overview] = await receiver.operations.queues({ names: [queue] })
    if (overview?.waiting === 0) break
    await wait(100)
  }
  const missing = messages.filter(({ id }) => !handled.has(id)).map(({ id }) => id)
  const again = [...handled.values()].reduce((sum, count) => sum + count - 1, 0)
  return { ...sent, handled, missing, again }
}
