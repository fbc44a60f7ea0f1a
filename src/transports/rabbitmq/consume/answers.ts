import type { Channel, ConsumeMessage } from 'amqplib'
import type { Answer } from './settle.ts'

/**
 * Tells the broker what becomes of the deliveries of one channel. Acknowledgements of one turn of
 * the event loop leave together. The broker numbers its deliveries, so that one frame can stand for
 * all up to a number.
 */
export interface Answers {
  /** A delivery has come: the function that answers it, once. */
  to(message: ConsumeMessage): (how: Answer) => void
  /** Tells now what would be told at the end of this turn. */
  flush(): void
}

/** On a channel that is lost nobody is told anything: the broker delivers again. */
export function createAnswers(channel: Pick<Channel, 'ack' | 'nack'>, lost: AbortSignal): Answers {
  /** Numbers of those without an answer, in the order in which they came. */
  const open = new Set<number>()
  let acks: ConsumeMessage[] = []

  function tell(answers: () => void): void {
    if (lost.aborted) return
    try {
      answers()
    } catch {
      // The channel has just been closed.
    }
  }

  function flush(): void {
    const done = acks.sort((a, b) => a.fields.deliveryTag - b.fields.deliveryTag)
    acks = []
    const [lowestOpen = Infinity] = open
    const below = done.findLast(({ fields }) => fields.deliveryTag < lowestOpen)
    tell(() => {
      if (below !== undefined) channel.ack(below, true)
      for (const message of done) if (message.fields.deliveryTag > lowestOpen) channel.ack(message)
    })
  }

  return {
    to(message) {
      const { deliveryTag } = message.fields
      open.add(deliveryTag)
      return (how) => {
        open.delete(deliveryTag)
        if (how !== 'ack') return tell(() => channel.nack(message, false, how === 'requeue'))
        if (acks.length === 0) setImmediate(flush)
        acks.push(message)
      }
    },
    flush,
  }
}
