import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { StoredRecord } from '../../../../src/transports/kafka/connection/records.ts'
import { LEDGER_OFFSETS } from '../../../../src/transports/kafka/consume/ledger.ts'
import {
  chosenFrom,
  type Entry,
  Partition,
  take,
} from '../../../../src/transports/kafka/consume/partition.ts'
import { toHeaders } from '../../../../src/transports/kafka/publish/wire.ts'

/** What Kafka keeps beside an offset. */
const MOST_METADATA = 4096
const place = { topic: 'mersal.queue.q', partition: 0 }

function record(offset: number, headers: Readonly<Record<string, string>> = {}): StoredRecord {
  const wire = toHeaders({ id: `id ${offset}`, type: 'type', headers })
  return { offset, timestamp: 0, key: null, value: Buffer.from('{}'), headers: [...wire] }
}

function entryAt(partition: Partition, offset: number): Entry {
  for (const entry of partition.due(Date.now())) if (entry.offset === offset) return entry
  throw new Error(`nothing is due at ${offset}`)
}

describe('a partition of Kafka', () => {
  test('does not keep in memory what was fetched together with a message', () => {
    setFlagsFromString('--expose_gc')
    const collect = runInNewContext('gc') as () => void
    const partition = new Partition(place, 'id', 0, null)
    const fetched = ((): WeakRef<ArrayBuffer> => {
      const buffer = new ArrayBuffer(8 << 20)
      const value = Buffer.from(buffer, 100, 10)
      const key = Buffer.from(buffer, 50, 5)
      const headers: StoredRecord['headers'] = [[Buffer.from(buffer, 0, 3), value]]
      partition.add([{ offset: 0, timestamp: 0, key, value, headers }], 1)
      return new WeakRef(buffer)
    })()
    // What a WeakRef was made of lives until the end of the turn.
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      collect()
      expect(fetched.deref()).toBeUndefined()
      expect(entryAt(partition, 0).arrived.envelope.body).toHaveLength(10)
    })
  })

  test('counts headers as well: 8 MiB of messages are enough', () => {
    const partition = new Partition(place, 'id', 0, null)
    const large = { text: 'x'.repeat(200_000) }
    for (let offset = 0; offset < 40; offset++) partition.add([record(offset, large)], offset + 1)
    expect(partition.wantsMore).toBe(true)
    for (let offset = 40; offset < 50; offset++) partition.add([record(offset, large)], offset + 1)
    expect(partition.wantsMore).toBe(false)
  })

  test('hands out nothing that it could not note, and goes on when the first one is done', () => {
    const partition = new Partition(place, 'id', 0, null)
    // One batch of a foreign program may be longer than the window.
    const records = Array.from({ length: 3 * LEDGER_OFFSETS }, (_, offset) => record(offset))
    partition.add(records, records.length)
    const first = entryAt(partition, 0)
    take(first)
    const handled: number[] = []
    const handleAll = (): void => {
      for (;;) {
        const chosen = chosenFrom([partition], 50)
        if (chosen.length === 0) return
        chosen.forEach(take)
        expect(partition.metadata.length).toBeLessThanOrEqual(MOST_METADATA)
        for (const entry of chosen) {
          handled.push(entry.offset)
          partition.done(entry)
        }
      }
    }
    handleAll()
    expect([handled.length, Math.max(...handled)]).toEqual([LEDGER_OFFSETS - 1, LEDGER_OFFSETS - 1])
    expect([partition.base, partition.wantsMore]).toEqual([0, false])
    partition.done(first)
    handleAll()
    expect([handled.length, partition.base]).toEqual([records.length - 1, records.length])
    expect(partition.wantsMore).toBe(true)
  })

  test('that begins anew has nothing noted and nothing deleted', () => {
    const partition = new Partition(place, 'id', 500, null)
    partition.committed = 700
    partition.purged = 700
    const other = partition.anew('other id', 0)
    expect([other.next, other.base, other.committed, other.purged]).toEqual([0, 0, 0, 0])
    expect([other.topicId, other.isDirty]).toEqual(['other id', true])
  })

  test('that begins anew loses no message to a handler of the one before', () => {
    const partition = new Partition(place, 'id', 0, null)
    partition.add([record(0)], 1)
    const before = entryAt(partition, 0)
    take(before)
    const other = partition.anew('other id', 0)
    other.add([record(0), record(1)], 2)
    partition.done(before)
    expect([...other.due(Date.now())].map(({ offset }) => offset)).toEqual([0, 1])
    expect(other.base).toBe(0)
  })

  test('that begins anew hands out no message whose key is in hand in the one before', () => {
    const key = Buffer.from('key')
    const partition = new Partition(place, 'id', 0, null)
    partition.add([{ ...record(0), key }], 1)
    const before = entryAt(partition, 0)
    take(before)
    const other = partition.anew('other id', 0)
    // It may happen twice while one handler is at work.
    const last = other.anew('last id', 0)
    last.add([{ ...record(0), key }, record(1)], 2)
    const due = (): readonly number[] => [...last.due(Date.now())].map(({ offset }) => offset)
    expect(due()).toEqual([1])
    before.isInHand = false
    expect(due()).toEqual([0, 1])
  })
})
