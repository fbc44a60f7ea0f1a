import { isMersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { aborted, toError } from '../../lib/async/abort.ts'
import { partsOf } from '../../sql/parts.ts'
import { sqlState } from '../../sql/postgres/failure.ts'
import {
  confirmed,
  heldBack,
  keyOrder,
  refusedForGood,
  sizeOf,
  tooLarge,
  unavailable,
  unknown,
  unroutable,
} from '../shared/outcomes.ts'
import type { Connection } from './connection.ts'
import { encode, unstorable } from './encode.ts'

interface PutRow {
  readonly answer: 'put' | 'discarded' | 'unroutable' | 'held' | 'busy' | 'outbox'
  readonly queues: string
}

/**
 * A key may be held by a transaction of the application; asked for again at this pace, and given up
 * after the last.
 */
const BUSY_MS = { first: 2, longest: 100, giveUp: 10_000 }
/** Most messages of one statement: bounds the JSON text and the memory of the server. */
export const PUT_MESSAGES = 1000

/** Writes the messages of the call, in transactions of our own. Never rejects. */
export function publishAll(
  connection: Connection,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal | undefined,
): Promise<PublishOutcome>[] {
  const call = new Call(connection, messages, signal)
  void call.run()
  return call.answers
}

/** One `publish`: of each key, what follows a message that was not confirmed is held back. */
class Call {
  readonly answers: Promise<PublishOutcome>[]
  readonly #connection: Connection
  readonly #messages: readonly OutgoingMessage[]
  readonly #signal: AbortSignal | undefined
  readonly #resolvers: PromiseWithResolvers<PublishOutcome>[]
  readonly #order = keyOrder()
  #begun = false

  constructor(
    connection: Connection,
    messages: readonly OutgoingMessage[],
    signal: AbortSignal | undefined,
  ) {
    this.#connection = connection
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
    await this.#connection.ready()
    let start = 0
    for (const part of partsOf(this.#messages, PUT_MESSAGES)) {
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
    const bad = unstorable(message)
    if (bad !== undefined) return refusedForGood(bad)
    const size = sizeOf(message)
    const { maxMessageBytes } = this.#connection.settings
    return size > maxMessageBytes ? tooLarge(size, maxMessageBytes) : undefined
  }

  /** What is busy is asked for again; the others have their answers meanwhile. */
  async #write(indices: readonly number[]): Promise<void> {
    const { clock } = this.#connection.settings
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
    const { own, sql, settings } = this.#connection
    const { json, bodies } = encode(messages, false)
    const keys = JSON.stringify([
      ...new Set(messages.flatMap(({ partitionKey }) => partitionKey ?? [])),
    ])
    let rows: readonly PutRow[] | undefined
    try {
      this.#begun = true
      await own.transaction('publishing messages', async (query) => {
        rows = (
          await query<PutRow>(sql.put, [
            json,
            bodies,
            keys,
            false,
            settings.eventsWithoutSubscribers === 'discard',
          ])
        ).rows
      })
    } catch (error) {
      // Without an answer to the commit nobody knows; before it, nothing has happened.
      if (rows === undefined && isFaultOfContent(error)) return this.#oneByOne(indices, error)
      this.#all(indices, {
        kind: rows === undefined ? 'unavailable' : 'unknown',
        error: toError(error),
      })
      return []
    }
    return this.#note(indices, rows ?? [])
  }

  #note(indices: readonly number[], rows: readonly PutRow[]): readonly number[] {
    const again: number[] = []
    const queues = new Set<number>()
    for (const [n, index] of indices.entries()) {
      const row = rows[n]
      const message = this.#messages[index] as OutgoingMessage
      if (row?.answer === 'busy') again.push(index)
      else this.#answer(index, outcomeOf(message, row?.answer))
      for (const queue of idsOf(row?.queues)) queues.add(queue)
    }
    this.#connection.ring([...queues])
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

export function idsOf(text: string | undefined): number[] {
  return text === undefined || text === '' ? [] : text.split(',').map(Number)
}

const causeOf = (error: unknown): unknown => (error as { readonly cause?: unknown }).cause ?? error

/**
 * Data (22), a constraint (23), a limit of the server (54): the connection and the others are well.
 */
function isFaultOfContent(error: unknown): boolean {
  // The sequence of the table is behind its rows: no message can be put.
  if (isMersalError(error, 'MERSAL_STORE_UNSAFE')) return false
  return ['22', '23', '54'].includes(sqlState(causeOf(error))?.slice(0, 2) ?? '')
}

function outcomeOf({ to }: OutgoingMessage, answer: PutRow['answer'] | undefined): PublishOutcome {
  switch (answer) {
    case 'put':
    case 'discarded':
      return confirmed
    case 'unroutable':
      return unroutable(to)
    case 'held':
      return heldBack()
    case 'busy':
    case 'outbox':
    case undefined:
      return unavailable('the queue gave no answer for this message')
    default:
      return answer satisfies never
  }
}

function busy(): PublishOutcome {
  return unavailable(
    'another transaction holds the key of this message: send keyed messages at the end of long transactions',
  )
}
