import { setTimeout as wait } from 'node:timers/promises'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { PublishOutcome, Transport } from '../../src/core/transport.ts'

/** What became of messages that were published while something went wrong. */
export interface Sent {
  /** When the confirm came, by `performance.now()`. */
  readonly confirmedAt: Map<string, number>
  /** Times at which it was not known what became of a message. */
  unknown: number
  readonly refused: PublishOutcome[]
}

export const nothingSent = (): Sent => ({ confirmedAt: new Map(), unknown: 0, refused: [] })

/** As a relay does: publishes each message until it is confirmed, with the same id. */
export async function sendUntilConfirmed(
  sender: Pick<Transport, 'publish'>,
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

const BATCH = 25

/**
 * Sends while a fault runs. The fault meets traffic: the second half waits for its end. `paceMs`:
 * between two calls of `publish`, until the fault is over.
 */
export async function sendBeside(
  fault: (sent: () => number) => Promise<void>,
  sender: Pick<Transport, 'publish'>,
  messages: readonly OutgoingMessage[],
  paceMs = 20,
): Promise<Sent> {
  const sent = nothingSent()
  let over = false
  const running = fault(() => sent.confirmedAt.size).finally(() => (over = true))
  for (let next = 0; next < messages.length; next += BATCH) {
    await sendUntilConfirmed(sender, messages.slice(next, next + BATCH), sent)
    if (next >= messages.length / 2) await running
    else await wait(over ? 0 : paceMs)
  }
  await running
  return sent
}

/** A third of them are events, the others go to the queue. */
export const destinationOf = (
  index: number,
  { queue, topic }: { readonly queue: string; readonly topic: string },
): OutgoingMessage['to'] => ({
  transport: 'default',
  ...(index % 3 === 0 ? { kind: 'topic', name: topic } : { kind: 'queue', name: queue }),
})

interface Handled {
  readonly confirmedAt: ReadonlyMap<string, number>
  /** How often each id was handled to its end. */
  readonly handled: ReadonlyMap<string, number>
}

/** Ids that were confirmed and never handled. */
export function missing({ confirmedAt, handled }: Handled): readonly string[] {
  return [...confirmedAt.keys()].filter((id) => !handled.has(id))
}

/** How often something was handled again. */
export function again({ handled }: Pick<Handled, 'handled'>): number {
  return [...handled.values()].reduce((sum, count) => sum + count - 1, 0)
}

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await wait(10)
}
