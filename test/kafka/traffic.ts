import { setTimeout as wait } from 'node:timers/promises'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Delivery, Disposition, PublishOutcome } from '../../src/core/transport.ts'
import { kafka, type KafkaOptions, type KafkaTransport } from '../../src/kafka.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'

/** Short times, so that a fault of seconds is long. */
export const hasty: Partial<KafkaOptions> = {
  partitions: 4,
  sessionTimeoutMs: 3000,
  confirmTimeoutMs: 1500,
  connectTimeoutMs: 2000,
  logger: false,
}

export interface Traffic {
  readonly confirmed: ReadonlySet<string>
  /** Times at which it was not known what became of a message. */
  readonly unknown: number
  /** How often each id was handled to its end. */
  readonly handled: ReadonlyMap<string, number>
  readonly refused: readonly PublishOutcome[]
  /** Messages of a key that were handled for the first time before an earlier one of it was. */
  readonly overtaken: readonly string[]
  /** Of how many messages of one key a handler had two at the same time. */
  readonly together: number
  /** Deliveries whose hold was lost while a handler had them. */
  readonly lost: number
}

/** What a fault may look at and change while the traffic goes on. */
export interface Running {
  readonly queue: string
  readonly sent: () => number
  /** One consumer more, with a transport of its own. */
  readonly join: () => Promise<AsyncDisposable>
}

export interface TrafficPlan {
  readonly server: string
  readonly options?: Partial<KafkaOptions>
  readonly messages: number
  readonly concurrency?: number
  /** Between two calls of `publish`, until the fault is over. Default 20. */
  readonly paceMs?: number
  /** Runs beside the traffic; it goes on until this has ended. */
  readonly fault: (running: Running) => Promise<void>
}

const BATCH = 25
const KEYS = 7
const queue = 'traffic.queue'
const topic = 'traffic.topic'

/** As a relay does: publishes each message until it is confirmed, with the same id. */
async function sendUntilConfirmed(
  sender: KafkaTransport,
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

/** Every second message has a key; of a key they are numbered. */
function messagesOf(count: number): readonly OutgoingMessage[] {
  return Array.from({ length: count }, (_, index) => ({
    id: uuidv7(Date.now()),
    type: 'traffic.message',
    headers: { number: String(index), key: index % 2 === 0 ? `k${index % KEYS}` : '' },
    body: Buffer.from(`{"number":${index}}`),
    ...(index % 2 === 0 ? { partitionKey: `k${index % KEYS}` } : {}),
    to: {
      transport: 'default',
      ...(index % 3 === 0
        ? { kind: 'topic' as const, name: topic }
        : { kind: 'queue' as const, name: queue }),
    },
  }))
}

/** What the handlers of all consumers see. */
function witness() {
  const handled = new Map<string, number>()
  const newest = new Map<string, number>()
  const inHand = new Map<string, number>()
  const seen = { overtaken: [] as string[], together: 0, lost: 0 }
  async function handle({ message, attempt, signal }: Delivery): Promise<Disposition> {
    const { number = '', key = '' } = message.headers
    const others = inHand.get(key) ?? 0
    if (key !== '' && others > 0) seen.together++
    inHand.set(key, others + 1)
    await wait(5)
    inHand.set(key, (inHand.get(key) ?? 1) - 1)
    if (signal.aborted) seen.lost++
    if (Number(number) % 10 === 0 && attempt === 1)
      return { kind: 'retry', delayMs: 50, error: new Error('once more') }
    const isNew = !handled.has(message.id)
    if (key !== '' && isNew && Number(number) < (newest.get(key) ?? -1))
      seen.overtaken.push(`${key} ${number}`)
    newest.set(key, Math.max(newest.get(key) ?? -1, Number(number)))
    handled.set(message.id, (handled.get(message.id) ?? 0) + 1)
    return { kind: 'ack' }
  }
  return { handled, seen, handle }
}

/** Commands and events between transports while something goes wrong. */
export async function traffic(plan: TrafficPlan): Promise<Traffic> {
  const { server, options = {}, concurrency = 20, paceMs = 20, fault } = plan
  const open = (): KafkaTransport => kafka({ bootstrapServers: server, ...hasty, ...options })
  await using sender = open()
  await using receiver = open()
  await receiver.subscribe(queue, [topic])
  const { handled, seen, handle } = witness()
  const confirmed = new Set<string>()
  const refused: PublishOutcome[] = []
  let unknown = 0
  const join = async (): Promise<AsyncDisposable> => {
    const stack = new AsyncDisposableStack()
    const other = stack.use(open())
    stack.use(await other.consume({ queue, concurrency }, handle))
    return stack
  }
  await using _consumption = await receiver.consume({ queue, concurrency }, handle)
  const messages = messagesOf(plan.messages)
  const note = ({ id }: OutgoingMessage, outcome: PublishOutcome): void => {
    if (outcome.kind === 'confirmed') confirmed.add(id)
    if (outcome.kind === 'unknown') unknown++
    if (outcome.kind === 'refused') refused.push(outcome)
  }
  let over = false
  const running = fault({ sent: () => confirmed.size, queue, join }).finally(() => (over = true))
  for (let next = 0; next < messages.length; next += BATCH) {
    await sendUntilConfirmed(sender, messages.slice(next, next + BATCH), note)
    // So that the fault meets traffic: the second half waits for its end.
    if (next >= messages.length / 2) await running
    else await wait(over ? 0 : paceMs)
  }
  await running
  await settled(receiver)
  return { confirmed, unknown, handled, refused, ...seen }
}

/** Nothing is left in the queue. */
async function settled(receiver: KafkaTransport): Promise<void> {
  for (;;) {
    const overviews = await receiver.operations.queues({ names: [queue] }).catch(() => [])
    if (overviews.find((one) => one.queue === queue)?.waiting === 0) return
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
