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
    diedAt: numberIn(stored, ownHeaders.diedAt, stored.time.getTime()),
    maybePublished: false,
    blocksKey: false,
  }
}

/** Dead letters of one queue, or of all: a stream with one subject for each queue. */
export function natsDeadLetters(
  topology: Topology,
  publisher: Publisher,
  queue?: string,
): DeadLetterBox {
  const { names } = topology
  const subject = queue === undefined ? `${names.prefix}.dead.*` : names.deadOf(queue)

  /** The letter that has this place in the stream, or the first one after it. */
  async function read(query: { readonly seq: number; readonly next_by_subj?: string }) {
    return topology.ask('reading the dead letters', async ({ manager }) => {
      try {
        return await manager.streams.getMessage(names.dead, query)
      } catch (error) {
        // Nothing has ever died here.
        if (apiCodeOf(error) === apiCodes.streamNotFound) return null
        throw error
      }
    })
  }

  async function find(key: string): Promise<Found | undefined> {
    const sequence = Number(key)
    if (!/^\d{1,15}$/.test(key) || sequence < 1) return undefined
    const stored = await read({ seq: sequence })
    if (stored === null) return undefined
    const letter = toLetter(stored)
    return queue === undefined || letter.place === queue ? { letter, sequence } : undefined
  }

  async function remove(sequence: number): Promise<boolean> {
    return topology.ask('removing a dead letter', async ({ manager }) => {
      try {
        return await manager.streams.deleteMessage(names.dead, sequence, false)
      } catch (error) {
        // Somebody else was faster.
        if (apiCodeOf(error) === apiCodes.noMessageToDelete) return false
        throw error
      }
    })
  }

  async function putBack({ letter, sequence }: Found): Promise<void> {
    // The id alone is known to the stream, which would not store it a second time.
    const headers = toHeaders(letter, `retry.${letter.id}.${names.dead}.${sequence}`)
    const to = names.subjectOf(letter.place)
    const answer = await publisher.send({ subject: to, headers, body: letter.body })
    if (answer.kind === 'stored') return
    const why = 'text' in answer ? answer.text : `there is no queue '${letter.place}'`
    throw new MersalError('MERSAL_UNAVAILABLE', `the dead letter ${letter.key} stays: ${why}`)
  }

  async function change(keys: readonly string[], before: (found: Found) => Promise<void>) {
    let changed = 0
    for (const key of new Set(keys)) {
      const found = await find(key)
      if (found === undefined) continue
      await before(found)
      if (await remove(found.sequence)) changed++
    }
    return changed
  }

  return {
    async list({ limit, after } = {}) {
      const most = checkNumber('limit', limit, { default: 100, min: 1, max: 1000 })
      const letters: DeadLetter[] = []
      let bytes = 0
      let next = after === undefined ? 1 : /^\d{1,15}$/.test(after) ? Number(after) + 1 : undefined
      while (next !== undefined && letters.length < most && bytes < CLAIM_BYTES) {
        const stored = await read({ seq: next, next_by_subj: subject })
        if (stored === null) break
        letters.push(toLetter(stored))
        bytes += stored.data.byteLength
        next = stored.seq + 1
      }
      return letters
    },
    retry: (keys) => change(keys, putBack),
    discard: (keys) => change(keys, () => Promise.resolve()),
  }
}
