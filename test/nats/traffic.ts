import { setTimeout as wait } from 'node:timers/promises'
import type { Delivery, Disposition } from '../../src/core/transport.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
import { destinationOf, sendBeside, type Sent } from '../scenarios/sending.ts'
import { plainClient } from './plain-client.ts'
import { nats, type NatsOptions, type NatsTransport } from '../../src/nats.ts'

/** Short times, so that a fault of seconds is long. */
export const hasty: NatsOptions = {
  ackWaitMs: 2000,
  confirmTimeoutMs: 1500,
  connectTimeoutMs: 2000,
  heartbeatSeconds: 1,
  // So short that it hides nothing.
  duplicateWindowMs: 100,
  logger: false,
}

export interface Traffic extends Sent {
  /** How often each id was handled to its end. */
  readonly handled: ReadonlyMap<string, number>
  /** Messages that the stream has taken since it was made. */
  readonly stored: number
  /** Deliveries whose hold was lost while a handler had them. */
  readonly lost: number
}

export interface TrafficPlan {
  readonly url: string
  readonly options?: NatsOptions
  readonly messages: number
  readonly concurrency?: number
  /** Runs beside the traffic; it goes on until this has ended. */
  readonly fault: (running: { readonly sent: () => number; queue: string }) => Promise<void>
}

/** Commands and events between two transports while something goes wrong. */
export async function traffic(plan: TrafficPlan): Promise<Traffic> {
  const { url, options = {}, concurrency = 20, fault } = plan
  await using sender = nats({ url, ...hasty, ...options })
  await using receiver = nats({ url, ...hasty, ...options })
  const [queue, topic] = ['traffic.queue', 'traffic.topic']
  await receiver.subscribe(queue, [topic])
  const handled = new Map<string, number>()
  let lost = 0

  async function handle({ message, attempt, signal }: Delivery): Promise<Disposition> {
    await wait(5)
    if (signal.aborted) lost++
    const number = Number(message.headers['number'])
    if (number % 10 === 0 && attempt === 1)
      return { kind: 'retry', delayMs: 50, error: new Error('once more') }
    handled.set(message.id, (handled.get(message.id) ?? 0) + 1)
    return { kind: 'ack' }
  }

  await using _consumption = await receiver.consume({ queue, concurrency }, handle)
  const messages = Array.from({ length: plan.messages }, (_, index) => ({
    id: uuidv7(Date.now()),
    type: 'traffic.message',
    headers: { number: String(index) },
    body: Buffer.from(`{"number":${index}}`),
    to: destinationOf(index, { queue, topic }),
  }))
  const sent = await sendBeside((count) => fault({ sent: count, queue }), sender, messages)
  await settled(url, receiver, queue)
  await using plain = await plainClient(url)
  const { state } = await plain.manager.streams.info('mersal-queue-traffic~queue')
  return { ...sent, stored: state.last_seq, handled, lost }
}

/** Nothing is left, neither to be handed out nor in the stream. */
async function settled(url: string, receiver: NatsTransport, queue: string): Promise<void> {
  for (;;) {
    const [overview] = await receiver.operations.queues({ names: [queue] })
    await using plain = await plainClient(url)
    const { state } = await plain.manager.streams.info('mersal-queue-traffic~queue')
    if (overview?.waiting === 0 && state.messages === 0) return
    await wait(100)
  }
}
