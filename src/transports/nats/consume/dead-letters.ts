import type { StoredMsg } from '@nats-io/jetstream'
import { type DeadLetter, type DeadLetterBox, isDeadReason } from '../../../core/dead-letter.ts'
import { CLAIM_BYTES } from '../../../core/messages/bytes.ts'
import { headerNames } from '../../../core/messages/message.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { checkNumber } from '../../../core/options.ts'
import { apiCodeOf, apiCodes } from '../connection/faults.ts'
import { nameOf } from '../topology/names.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { Topology } from '../topology/topology.ts'
import { ownHeaders, toEnvelope, toHeaders } from '../publish/wire.ts'

interface Found {
  readonly letter: DeadLetter
  readonly sequence: number
  readonly storedAt: number
}

function numberIn(stored: StoredMsg, name: string, preset: number): number {
  const value = Number(stored.header.get(name))
  return Number.isSafeInteger(value) && value > 0 ? value : preset
}

function errorIn(stored: StoredMsg): string {
  try {
    const text: unknown = JSON.parse(stored.header.get(ownHeaders.error))
    if (typeof text === 'string') return text.slice(0, 2000)
  } catch {
    // Somebody else has put it there.
  }
  return 'it was put here by somebody else, without a reason'
}

function toLetter(stored: StoredMsg): DeadLetter {
  const envelope = toEnvelope({ headers: stored.header, data: stored.data })
  const { [headerNames.partitionKey]: partitionKey } = envelope.headers
  const reason = stored.header.get(ownHeaders.reason)
  return {
    ...envelope,
    key: String(stored.seq),
    direction: 'incoming',
    place: nameOf(stored.subject.split('.').at(-1) ?? ''),
    ...(partitionKey === undefined ? {} : { partitionKey }),
    reason: isDeadReason(reason) ? reason : 'rejected',
    error: errorIn(stored),
    attempts: numberIn(stored, ownHeaders.attempts, 1),
    history: [],
    diedAt: numberIn(stored, ownHeaders.diedAt, stored.time.getTime()),
    maybePublished: false,
    blocksKey: false,
  }
}

const asSequence = (key: string): number | undefined =>
  /^[1-9]\d{0,14}$/.test(key) ? Number(key) : undefined

/** Dead letters of one queue, or of all: a stream with one subject for each queue. */
export class NatsDeadLetters implements DeadLetterBox {
  readonly #topology: Topology
  readonly #publisher: Publisher
  readonly #queue: string | undefined

  constructor(topology: Topology, publisher: Publisher, queue?: string) {
    this.#topology = topology
    this.#publisher = publisher
    this.#queue = queue
  }

  async list(
    query: { readonly limit?: number; readonly after?: string } = {},
  ): Promise<readonly DeadLetter[]> {
    const most = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
    const { names } = this.#topology
    const subject = this.#queue === undefined ? `${names.prefix}.dead.*` : names.deadOf(this.#queue)
    const letters: DeadLetter[] = []
    let bytes = 0
    const last = query.after === undefined ? 0 : asSequence(query.after)
    let next = last === undefined ? undefined : last + 1
    while (next !== undefined && letters.length < most && bytes < CLAIM_BYTES) {
      const stored = await this.#read({ seq: next, next_by_subj: subject })
      if (stored === null) break
      letters.push(toLetter(stored))
      bytes += stored.data.byteLength
      next = stored.seq + 1
    }
    return letters
  }

  retry(keys: readonly string[]): Promise<number> {
    return this.#change(keys, (found) => this.#putBack(found))
  }

  discard(keys: readonly string[]): Promise<number> {
    return this.#change(keys, () => Promise.resolve())
  }

  async #change(keys: readonly string[], before: (found: Found) => Promise<void>): Promise<number> {
    let changed = 0
    for (const key of new Set(keys)) {
      const found = await this.#find(key)
      if (found === undefined) continue
      await before(found)
      if (await this.#remove(found.sequence)) changed++
    }
    return changed
  }

  /** The letter that has this place in the stream, or with a subject the first one after it. */
  #read(query: { readonly seq: number; readonly next_by_subj?: string }) {
    return this.#topology.ask('reading the dead letters', async ({ manager }) => {
      try {
        return await manager.streams.getMessage(this.#topology.names.dead, query)
      } catch (error) {
        // Nothing has ever died here.
        if (apiCodeOf(error) === apiCodes.streamNotFound) return null
        throw error
      }
    })
  }

  async #find(key: string): Promise<Found | undefined> {
    const sequence = asSequence(key)
    if (sequence === undefined) return undefined
    const stored = await this.#read({ seq: sequence })
    if (stored === null) return undefined
    const letter = toLetter(stored)
    const isMine = this.#queue === undefined || letter.place === this.#queue
    return isMine ? { letter, sequence, storedAt: stored.time.getTime() } : undefined
  }

  #remove(sequence: number): Promise<boolean> {
    return this.#topology.ask('removing a dead letter', async ({ manager }) => {
      try {
        return await manager.streams.deleteMessage(this.#topology.names.dead, sequence, false)
      } catch (error) {
        // Somebody else was faster.
        if (apiCodeOf(error) === apiCodes.noMessageToDelete) return false
        throw error
      }
    })
  }

  async #putBack({ letter, sequence, storedAt }: Found): Promise<void> {
    const { names } = this.#topology
    // The id alone is known to the stream, which would not store it a second time. Nor would it
    // know the place from that of a stream of dead letters that was deleted.
    const headers = toHeaders(letter, `retry.${letter.id}.${names.dead}.${sequence}.${storedAt}`)
    const subject = names.subjectOf(letter.place)
    const answer = await this.#publisher.send({ subject, headers, body: letter.body })
    if (answer.kind === 'stored') return
    const cause = 'error' in answer ? answer.error : undefined
    const why = 'text' in answer ? answer.text : `no stream took it for queue '${letter.place}'`
    const text = `the dead letter ${letter.key} stays: ${cause?.message ?? why}`
    throw new MersalError('MERSAL_UNAVAILABLE', text, { cause })
  }
}
