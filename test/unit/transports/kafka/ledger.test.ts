import { describe, expect, test } from 'vitest'
import {
  decodeLedger,
  encodeLedger,
  LEDGER_OFFSETS,
} from '../../../../src/transports/kafka/consume/ledger.ts'

const MOST_BYTES = 4096
const id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'

describe('the metadata of a committed offset', () => {
  test('tells again what is done, and what is known of the rest', () => {
    const open = new Set([100, 103, 104, 110])
    const marks = [
      [100, { attempts: 3, due: 1_800_000_000_123, since: undefined }],
      [104, { attempts: 0, due: 0, since: 1_700_000_000_000 }],
      [110, { attempts: 1, due: 0, since: undefined }],
    ] as const
    const text = encodeLedger(id, 100, 111, (offset) => open.has(offset), marks)
    const { topicId, done, marks: found } = decodeLedger(100, text)
    expect(topicId).toBe(id)
    expect([...done]).toEqual([101, 102, 105, 106, 107, 108, 109])
    expect([...found]).toEqual(marks)
  })

  test('is empty for a partition in which all is done', () => {
    const text = encodeLedger(id, 7, 7, () => false, [])
    expect(decodeLedger(7, text)).toEqual({ topicId: id, done: new Set(), marks: new Map() })
  })

  test('fits into what Kafka keeps, at its fullest', () => {
    const due = Date.now() + 1e9
    const marks = Array.from({ length: 128 }, (_, index) => {
      const mark = { attempts: 1000, due, since: due }
      return [LEDGER_OFFSETS - 1 - index, mark] as const
    })
    const open = new Set(marks.map(([offset]) => offset))
    const text = encodeLedger(id, 0, LEDGER_OFFSETS, (at) => at % 2 === 0 || open.has(at), marks)
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MOST_BYTES)
    expect(decodeLedger(0, text).marks.size).toBe(128)
  })

  test.each([undefined, null, '', 'somebody was here', 'm2 ////  1:2', 'm1 ??? :::,x'])(
    'that a foreign hand has written (%s) tells nothing that is wrong',
    (text) => {
      const { done, marks } = decodeLedger(5, text)
      expect([...done].filter((offset) => !Number.isSafeInteger(offset))).toEqual([])
      expect([...marks.keys()].filter((offset) => !Number.isSafeInteger(offset))).toEqual([])
    },
  )
})
