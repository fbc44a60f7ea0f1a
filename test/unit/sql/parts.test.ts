import { expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { checkBodySize, LARGEST_BODY_BYTES, PART_BYTES, partsOf } from '../../../src/sql/parts.ts'

/** Shares its memory with all others. */
const memory = new ArrayBuffer(PART_BYTES + 1)

const message = (bytes: number): OutgoingMessage => ({
  id: '00000000-0000-7000-8000-000000000001',
  type: 'test.large',
  headers: {},
  body: new Uint8Array(memory, 0, bytes),
  to: { transport: 'default', kind: 'queue', name: 'q' },
})

test('a statement that saves holds so many messages and so many bytes, and always one message', () => {
  const half = PART_BYTES / 2
  const sizes = [half, half, 1, PART_BYTES + 1, 1, 1, 1]
  expect(
    partsOf(sizes.map(message), 2).map((part) => part.map(({ body }) => body.byteLength)),
  ).toEqual([[half, half], [1], [PART_BYTES + 1], [1, 1], [1]])
  expect(partsOf([], 2)).toEqual([])
})

test('a body that no row can hold is refused before a statement is sent', () => {
  const body = { byteLength: LARGEST_BODY_BYTES + 1 } as Uint8Array
  expect(() => checkBodySize({ ...message(1), body })).toThrow(
    expect.objectContaining({ code: 'MERSAL_TOO_LARGE' }),
  )
  expect(() => checkBodySize(message(PART_BYTES))).not.toThrow()
})
