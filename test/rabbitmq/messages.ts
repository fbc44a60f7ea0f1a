import { randomUUID } from 'node:crypto'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { PublishOutcome, Transport } from '../../src/core/transport.ts'

export function toQueue(queue: string, extra: Partial<OutgoingMessage> = {}): OutgoingMessage {
  const id = randomUUID()
  const to = { transport: 'default', kind: 'queue', name: queue } as const
  return { id, type: 'test.message', headers: {}, body: Buffer.from(id), to, ...extra }
}

export function toTopic(topic: string): OutgoingMessage {
  return toQueue(topic, { to: { transport: 'default', kind: 'topic', name: topic } })
}

export async function publishOne(
  transport: Transport,
  message: OutgoingMessage,
): Promise<PublishOutcome> {
  const [outcome] = transport.publish([message])
  if (outcome === undefined) throw new Error('no promise for the message')
  return outcome
}

/**
 * Publishes again and again, with a pause between, until the broker confirms. Returns all outcomes.
 */
export async function publishUntilConfirmed(
  transport: Transport,
  message: OutgoingMessage,
): Promise<readonly PublishOutcome[]> {
  const outcomes: PublishOutcome[] = []
  for (;;) {
    const outcome = await publishOne(transport, message)
    outcomes.push(outcome)
    if (outcome.kind === 'confirmed') return outcomes
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
