import { setImmediate } from 'node:timers'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { Delivery, Disposition, PublishOutcome, Transport } from '../../core/transport.ts'
import { nextTurn } from '../../lib/async/turn.ts'
import { overlay } from './overlay.ts'
import { type AtCrashPoint, phase } from './points.ts'

/** Only the points of the transport. */
export function transportWithPoints(transport: Transport, at: AtCrashPoint): Transport {
  return overlay(transport, {
    publish: (messages, options) => {
      const answers = messages.map(() => Promise.withResolvers<PublishOutcome>())
      const publish = (part: readonly OutgoingMessage[]): Promise<PublishOutcome[]> =>
        Promise.all(transport.publish(part, options))
      void publishWithPoints(
        messages,
        publish,
        (index, outcome) => answers[index]?.resolve(outcome),
        at,
      )
      return answers.map(({ promise }) => promise)
    },
    consume: (consumption, onDelivery) =>
      transport.consume(consumption, (delivery) => deliverWithPoints(delivery, onDelivery, at)),
  })
}

type Answer = (index: number, outcome: PublishOutcome) => void

/** What `at` throws here becomes the outcome `unknown` of every message that has no answer yet. */
async function publishWithPoints(
  messages: readonly OutgoingMessage[],
  publish: (part: readonly OutgoingMessage[]) => Promise<PublishOutcome[]>,
  answer: Answer,
  at: AtCrashPoint,
): Promise<void> {
  try {
    await at('R3')
    const half = Math.floor(messages.length / 2)
    const first = await publish(messages.slice(0, half))
    if (half > 0) await at('R4')
    const second = await publishRest(
      messages.slice(half),
      unconfirmedKeys(messages, first),
      publish,
    )
    await at('R5')
    first.forEach((outcome, index) => answer(index, outcome))
    if (half > 0) {
      // Everybody who waits for an answer runs before the next point.
      await nextTurn()
      await at('R6')
    }
    second.forEach((outcome, index) => answer(half + index, outcome))
  } catch (thrown) {
    const error =
      thrown instanceof Error
        ? thrown
        : new Error('a value that is no Error was thrown at a crash point', { cause: thrown })
    messages.forEach((_, index) => answer(index, { kind: 'unknown', error }))
  }
}

function unconfirmedKeys(
  messages: readonly OutgoingMessage[],
  outcomes: readonly PublishOutcome[],
): ReadonlySet<string> {
  const keys = outcomes.map((outcome, index) =>
    outcome.kind === 'confirmed' ? undefined : messages[index]?.partitionKey,
  )
  return new Set(keys.filter((key) => key !== undefined))
}

async function publishRest(
  messages: readonly OutgoingMessage[],
  held: ReadonlySet<string>,
  publish: (part: readonly OutgoingMessage[]) => Promise<PublishOutcome[]>,
): Promise<PublishOutcome[]> {
  const free = messages.filter(
    ({ partitionKey }) => partitionKey === undefined || !held.has(partitionKey),
  )
  const outcomes = new Map((await publish(free)).map((outcome, index) => [free[index], outcome]))
  const error = new Error('an earlier message of the same key was not confirmed')
  return messages.map((message) => outcomes.get(message) ?? { kind: 'unavailable', error })
}

async function deliverWithPoints(
  delivery: Delivery,
  onDelivery: (delivery: Delivery) => Promise<Disposition>,
  at: AtCrashPoint,
): Promise<Disposition> {
  await at('C1')
  const disposition = await phase.run('delivery', () => onDelivery(delivery))
  if (disposition.kind !== 'ack') return disposition
  await at('C7')
  setImmediate(() => void at('C8'))
  return disposition
}
