import type { Channel, GetMessage } from 'amqplib'
import { systemClock } from '../../../lib/async/clock.ts'
import { answered } from '../connection/client.ts'

/** Most messages, and bytes, that are worked on while the next ones are fetched. */
const WINDOW = { messages: 200, bytes: 16 * 1024 * 1024 }
const LONGEST_ANSWER_MS = 60_000

export interface Verdict {
  /**
   * The message is to be removed once this has resolved: everything that stands for it is safe.
   * Without it, it stays.
   */
  readonly done?: Promise<unknown>
  /** Nothing further is fetched. */
  readonly stop: boolean
}

/**
 * Fetches each message that is in the queue when this begins, once and in order, without
 * acknowledging it, and judges it. What is to be removed is acknowledged as soon as its work is
 * done; all others are given back at the end: a classic queue puts them into their places, a quorum
 * queue into any order. If this is broken off, or the connection is cut, RabbitMQ gives back
 * whatever was not acknowledged: then a message may be there twice, here and where its copy went,
 * and none is lost. Resolves to whether it was told to stop.
 *
 * What dies meanwhile comes behind the end of this pass, so no letter is retried twice by it.
 */
export async function passOver(
  channel: Channel,
  name: string,
  judge: (message: GetMessage) => Promise<Verdict>,
): Promise<boolean> {
  const { messageCount } = await answered(LONGEST_ANSWER_MS, channel.checkQueue(name))
  const work = new Work(channel)
  let left = messageCount
  let held = 0
  let stopped = false
  try {
    for (let seen = 0; seen < messageCount && !stopped; seen++) {
      await work.room()
      const message = await answered(LONGEST_ANSWER_MS, channel.get(name, { noAck: false }))
      if (message === false) break
      left = message.fields.messageCount
      const { done, stop } = await judge(message)
      if (done === undefined) held++
      else work.add(message, done)
      stopped = stop
    }
  } finally {
    await work.rest()
  }
  work.check()
  if (held > 0) await giveBack(name, channel, left + held)
  return stopped
}

/** What is under way for messages that are to be removed. */
class Work {
  readonly #channel: Channel
  readonly #running = new Set<Promise<void>>()
  readonly #failures: unknown[] = []
  #bytes = 0

  constructor(channel: Channel) {
    this.#channel = channel
  }

  add(message: GetMessage, done: Promise<unknown>): void {
    const bytes = message.content.byteLength
    this.#bytes += bytes
    const one = done
      .then(
        () => this.#channel.ack(message),
        (error: unknown) => void this.#failures.push(error),
      )
      .finally(() => {
        this.#bytes -= bytes
        this.#running.delete(one)
      })
    this.#running.add(one)
  }

  /** Resolves when one more may be fetched; throws if something has failed, which ends the pass. */
  async room(): Promise<void> {
    while (this.#running.size >= WINDOW.messages || this.#bytes >= WINDOW.bytes)
      await Promise.race(this.#running)
    this.check()
  }

  /** Waits for what is under way. Never throws. */
  async rest(): Promise<void> {
    await Promise.allSettled(this.#running)
  }

  check(): void {
    if (this.#failures.length > 0) throw this.#failures[0]
  }
}

/** Looks without any growth before the others are taken for gone. */
const PATIENCE = 50

/**
 * The broker gives messages back some time after it was told to, thousands of them in seconds;
 * waits for it, so that the next look sees them. Not for ever: another tool may have taken them
 * meanwhile.
 */
async function giveBack(name: string, channel: Channel, expected: number): Promise<void> {
  channel.nackAll(true)
  let most = 0
  for (let quiet = 0; quiet < PATIENCE; quiet++) {
    const { messageCount } = await channel.checkQueue(name)
    if (messageCount >= expected) return
    if (messageCount > most) quiet = 0
    most = Math.max(most, messageCount)
    await systemClock.sleep(20)
  }
}
