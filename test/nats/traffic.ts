import { setTimeout as wait } from 'node:timers/promises'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Delivery, Disposition, PublishOutcome } from '../../src/core/transport.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
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

export interface Traffic {
  readonly confirmed: ReadonlySet<string>
  /** Times at which it was not known what became of a message. */
  readonly unknown: number
  /** How often each id was handled to its end. */
  readonly handled: ReadonlyMap<string, number>
  readonly refused: readonly PublishOutcome[]
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

const BATCH = 25

/** As a relay does: publishes each message until it is confirmed, with the same id. */
async function sendUntilConfirmed(
  sender: NatsTransport,
  messages: readonly OutgoingMessage[],
  note: (message: OutgoingMessage, outcome: PublishOutcome) => void,
): Promise<void> {
  let open = messages
  while (open.length > 0) {
    const outcomes = await Promise.all(sender.publish(open))
    outcomes.forEach((outcome, index) => note(open[index] as OutgoingMessage, outcome))
    open = open.filter((_, index) => outcomes[index]?.kind !== 'confirmed')
    const away = outcomes.find((outcome) => outcome.kind === 'unavailable')
    if (open.length > 0) await Promise.race([wait(200), away?.back ?? wait(200)])
  }
}

/** Commands and events between two transports while something goes wrong. */
export async function traffic(plan: TrafficPlan): Promise<Traffic> {
  const { url, options = {}, concurrency = 20, fault } = plan
  await using sender = nats({ url, ...hasty, ...options })
  await using receiver = nats({ url, ...hasty, ...options })
  const [queue, topic] = ['traffic.queue', 'traffic.topic']
  await receiver.subscribe(queue, [topic])
  const handled = new Map<string, number>()
  const confirmed = new Set<string>()
  const refused: PublishOutcome[] = []
  let unknown = 0
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
    to: {
      transport: 'default',
      ...(index % 3 === 0
        ? { kind: 'topic' as const, name: topic }
        : { kind: 'queue' as const, name: queue }),
    },
  }))
  const note = ({ id }: OutgoingMessage, outcome: PublishOutcome): void => {
    if (outcome.kind === 'confirmed') confirmed.add(id)
    if (outcome.kind === 'unknown') unknown++
    if (outcome.kind === 'refused') refused.push(outcome)
  }
  let over = false
  const running = fault({ sent: () => confirmed.size, queue }).finally(() => (over = true))
  for (let next = 0; next < messages.length; next += BATCH) {
    await sendUntilConfirmed(sender, messages.slice(next, next + BATCH), note)
    // So that the fault meets traffic: the second half waits for its end.
    if (next >= messages.length / 2) await running
    else await wait(over ? 0 : 20)
  }
  await running
  await settled(url, receiver, queue)
  await using plain = await plainClient(url)
  const { state } = await plain.manager.streams.info('mersal-queue-traffic~queue')
  return { stored: state.last_seq, confirmed, unknown, handled, refused, lost }
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

/** Ids that were confirmed and never handled. */
export function missing({ confirmed, handled }: Traffic): readonly string[] {
  return [...confirmed].filter((id) => !handled.has(id))
}

/** How often something was handled again. */
export function again({ handled }: Traffic): number {
  return [...handled.values()].reduce((sum, count) => sum + count - 1, 0)
}
