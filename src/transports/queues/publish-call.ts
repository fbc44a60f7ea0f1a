import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { aborted, toError } from '../../lib/async/abort.ts'
import type { Clock } from '../../lib/async/clock.ts'
import {
  keyOrder,
  refusedForGood,
  sizeOf,
  tooLarge,
  unavailable,
  unknown,
} from '../shared/outcomes.ts'

/** How a queue in a database is written to. */
export interface PutPorts {
  readonly clock: Clock
  readonly maxMessageBytes: number
  /** Cut so that each part is written in one transaction. */
  readonly parts: (messages: readonly OutgoingMessage[]) => readonly OutgoingMessage[][]
  readonly ready: () => Promise<void>
  /** Why this message can never be stored. */
  readonly unstorable: (message: OutgoingMessage) => string | undefined
  /**
   * Writes them in one transaction. One answer per message; `busy`: somebody holds its key, so that
   * it should be asked for again. `written` is called when nothing but the commit is left: a
   * failure after that leaves unknown what became of them.
   */
  readonly put: (
    messages: readonly OutgoingMessage[],
    written: () => void,
  ) => Promise<readonly (PublishOutcome | 'busy')[]>
  /** The server refused something in the messages: the connection and the others are well. */
  readonly isFaultOfContent: (error: unknown) => boolean
}

/**
 * A key may be held by a transaction of the application; asked for again at this pace, and given up
 * after the last.
 */
const BUSY_MS = { first: 2, longest: 100, giveUp: 10_000 }

/** Writes the messages of the call, in transactions of our own. Never rejects. */
export function publishCall(
  ports: PutPorts,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal | undefined,
): Promise<PublishOutcome>[] {
  const call = new Call(ports, messages, signal)
  void call.run()
  return call.answers
}

/** One `publish`: of each key, what follows a message that was not confirmed is held back. */
class Call {
  readonly answers: Promise<PublishOutcome>[]
  readonly #ports: PutPorts
  readonly #messages: readonly OutgoingMessage[]
  readonly #signal: AbortSignal | undefined
  readonly #resolvers: PromiseWithResolvers<PublishOutcome>[]
  readonly #order = keyOrder()
  #begun = false

  constructor(
    ports: PutPorts,
    messages: readonly OutgoingMessage[],
    signal: AbortSignal | undefined,
  ) {
    this.#ports = ports
    this.#messages = messages
    this.#signal = signal
    this.#resolvers = messages.map(() => Promise.withResolvers<PublishOutcome>())
    this.answers = this.#resolvers.map(({ promise }) => promise)
  }

  async run(): Promise<void> {
    if (this.#signal?.aborted === true) return this.#giveUp()
    const stop =
      this.#signal === undefined ? undefined : aborted(this.#signal).then(() => this.#giveUp())
    const work = this.#work().catch((error: unknown) =>
      this.#rest({ kind: 'unavailable', error: toError(error) }),
    )
    await (stop === undefined ? work : Promise.race([work, stop]))
  }

  async #work(): Promise<void> {
    await this.#ports.ready()
    let start = 0
    for (const part of this.#ports.parts(this.#messages)) {
      const first = start
      const indices = part.map((_, index) => first + index)
      start += part.length
      await this.#write(indices.filter((index) => this.#mayGo(index)))
    }
  }

  /** Whether it can be stored, and nothing of its key was refused before. */
  #mayGo(index: number): boolean {
    const message = this.#messages[index] as OutgoingMessage
    const problem = this.#problemOf(message) ?? this.#order.before(message)
    if (problem !== undefined) this.#answer(index, problem)
    return problem === undefined
  }

  #problemOf(message: OutgoingMessage): PublishOutcome | undefined {
    const { maxMessageBytes, unstorable } = this.#ports
    const bad = unstorable(message)
    if (bad !== undefined) return refusedForGood(bad)
    const size = sizeOf(message)
    return size > maxMessageBytes ? tooLarge(size, maxMessageBytes) : undefined
  }

  /** What is busy is asked for again; the others have their answers meanwhile. */
  async #write(indices: readonly number[]): Promise<void> {
    const { clock } = this.#ports
    const until = clock.monotonic() + BUSY_MS.giveUp
    let open = indices
    for (let pause = BUSY_MS.first; open.length > 0; pause = Math.min(pause * 2, BUSY_MS.longest)) {
      open = await this.#put(open)
      if (open.length === 0) return
      if (clock.monotonic() > until) return this.#all(open, busy())
      await clock.sleep(pause, this.#signal)
      if (this.#signal?.aborted === true) return
    }
  }

  /** One transaction. Returns what is busy. */
  async #put(indices: readonly number[]): Promise<readonly number[]> {
    const messages = indices.map((index) => this.#messages[index] as OutgoingMessage)
    const { put, isFaultOfContent } = this.#ports
    let written = false
    try {
      this.#begun = true
      const answers = await put(messages, () => (written = true))
      return this.#note(indices, answers)
    } catch (error) {
      // Without an answer to the commit nobody knows; before it, nothing has happened.
      if (!written && isFaultOfContent(error)) return this.#oneByOne(indices, error)
      this.#all(indices, { kind: written ? 'unknown' : 'unavailable', error: toError(error) })
      return []
    }
  }

  #note(
    indices: readonly number[],
    answers: readonly (PublishOutcome | 'busy')[],
  ): readonly number[] {
    const again: number[] = []
    for (const [n, index] of indices.entries()) {
      const answer = answers[n] ?? unavailable('the queue gave no answer for this message')
      if (answer === 'busy') again.push(index)
      else this.#answer(index, answer)
    }
    return again
  }

  /** The server refused something in them, so that one must not stop the others. */
  async #oneByOne(indices: readonly number[], error: unknown): Promise<readonly number[]> {
    const [only] = indices
    if (indices.length === 1 && only !== undefined) {
      const text = `the database refused the message: ${toError(causeOf(error)).message}`
      this.#answer(only, refusedForGood(text))
      return []
    }
    for (const index of indices) if (this.#mayGo(index)) await this.#write([index])
    return []
  }

  #answer(index: number, outcome: PublishOutcome): void {
    this.#order.note(this.#messages[index] as OutgoingMessage, outcome)
    this.#resolvers[index]?.resolve(outcome)
  }

  #all(indices: readonly number[], outcome: PublishOutcome): void {
    for (const index of indices) this.#answer(index, outcome)
  }

  /** What has an answer keeps it. */
  #rest(outcome: PublishOutcome): void {
    for (const { resolve } of this.#resolvers) resolve(outcome)
  }

  #giveUp(): void {
    const text = 'the publishing was given up before it was answered'
    this.#rest(this.#begun ? unknown(text) : unavailable(text))
  }
}

const causeOf = (error: unknown): unknown => (error as { readonly cause?: unknown }).cause ?? error

function busy(): PublishOutcome {
  return unavailable(
    'another transaction holds the key of this message: send keyed messages at the end of long transactions',
  )
}
