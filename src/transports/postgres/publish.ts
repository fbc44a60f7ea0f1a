import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { aborted, toError } from '../../lib/async/abort.ts'
import { partsOf } from '../../sql/parts.ts'
import { sqlState } from '../../sql/postgres/failure.ts'
import type { Connection } from './connection.ts'
import { encode, sizeOf, unstorable } from './encode.ts'

interface PutRow {
  readonly answer: 'put' | 'discarded' | 'unroutable' | 'held' | 'busy' | 'outbox'
  readonly queues: string
}

const confirmed: PublishOutcome = { kind: 'confirmed' }
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
  /** What became of the last message of a key, if it was not confirmed. */
  readonly #stopped = new Map<string, PublishOutcome>()
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
    const bad = unstorable(message)
    const size = bad === undefined ? sizeOf(message) : 0
    const { maxMessageBytes } = this.#connection.settings
    if (bad !== undefined)
      this.#answer(index, { kind: 'refused', reason: 'refused', error: bad, permanent: true })
    else if (size > maxMessageBytes) this.#answer(index, tooLarge(size, maxMessageBytes))
    else if (message.partitionKey === undefined) return true
    else {
      const before = this.#stopped.get(message.partitionKey)
      if (before === undefined) return true
      this.#answer(index, before.kind === 'refused' ? heldBack() : before)
    }
    return false
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
      if (row?.answer === 'busy') again.push(index)
      else this.#answer(index, outcomeOf(this.#messages[index] as OutgoingMessage, row?.answer))
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
      this.#answer(only, {
        kind: 'refused',
        reason: 'refused',
        error: new MersalError('MERSAL_REFUSED', text),
        permanent: true,
      })
      return []
    }
    for (const index of indices) if (this.#mayGo(index)) await this.#write([index])
    return []
  }

  #answer(index: number, outcome: PublishOutcome): void {
    const key = this.#messages[index]?.partitionKey
    if (outcome.kind !== 'confirmed' && key !== undefined) this.#stopped.set(key, outcome)
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
    const error = new MersalError(
      'MERSAL_UNAVAILABLE',
      'the publishing was given up before it was answered',
    )
    this.#rest({ kind: this.#begun ? 'unknown' : 'unavailable', error })
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
  return ['22', '23', '54'].includes(sqlState(causeOf(error))?.slice(0, 2) ?? '')
}

function outcomeOf({ to }: OutgoingMessage, answer: PutRow['answer'] | undefined): PublishOutcome {
  switch (answer) {
    case 'put':
    case 'discarded':
      return confirmed
    case 'unroutable':
      return {
        kind: 'refused',
        reason: 'unroutable',
        error: new MersalError('MERSAL_UNROUTABLE', unroutableText(to)),
        permanent: false,
      }
    case 'held':
      return heldBack()
    case 'busy':
    case 'outbox':
    case undefined:
      return {
        kind: 'unavailable',
        error: new MersalError('MERSAL_UNAVAILABLE', 'the queue gave no answer for this message'),
      }
    default:
      return answer satisfies never
  }
}

function unroutableText(to: OutgoingMessage['to']): string {
  return to.kind === 'queue'
    ? `nobody has declared the queue '${to.name}': start its app once, or check the route`
    : `no queue is subscribed to '${to.name}': start a subscriber once, or set eventsWithoutSubscribers: 'discard'`
}

function tooLarge(size: number, most: number): PublishOutcome {
  const text = `body and headers have ${size} bytes, this queue takes at most ${most}: send a reference instead`
  return {
    kind: 'refused',
    reason: 'too-large',
    error: new MersalError('MERSAL_TOO_LARGE', text),
    permanent: true,
  }
}

function heldBack(): PublishOutcome {
  const error = new MersalError(
    'MERSAL_REFUSED',
    'held back, because an earlier message of the same key was refused',
  )
  return { kind: 'refused', reason: 'refused', error, permanent: false }
}

function busy(): PublishOutcome {
  const text =
    'another transaction holds the key of this message: send keyed messages at the end of long transactions'
  return { kind: 'unavailable', error: new MersalError('MERSAL_UNAVAILABLE', text) }
}
