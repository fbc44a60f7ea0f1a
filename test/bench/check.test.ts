import type { MessageProperties } from 'amqplib'
import { expect, test } from 'vitest'
import { createCheck, upTo } from '../../bench/check.ts'
import { bodyOf, evenKeys, numberOf } from '../../bench/messages.ts'
import { BODIES_IN_ONE, numbersIn } from '../../bench/rabbit-queue.ts'
import {
  BUNDLE_CONTENT_TYPE,
  bytesInBundle,
  EMPTY_BUNDLE_BYTES,
  encodeBundle,
} from '../../src/transports/rabbitmq/bundles/bundle-format.ts'

function faultsOf(numbers: readonly number[], ordered = true): string[] {
  const check = createCheck(evenKeys(2))
  for (const number of numbers) check.saw(number)
  return check.faults(upTo(4), { ordered })
}

test('what arrives once and in the order of its key is no fault', () => {
  expect(faultsOf([2, 1, 3, 4])).toEqual([])
})

test.each([
  ['is lost', [1, 2, 3], '1 of 4 lost'],
  ['is doubled', [1, 2, 2, 3, 4], '1 doubled'],
  ['comes from nowhere', [1, 2, 3, 4, 6], '1 that nobody committed'],
  ['overtakes another one of its key', [3, 2, 1, 4], '1 out of order'],
])('a message that %s is found', (_, numbers, fault) => {
  expect(faultsOf(numbers)).toEqual([fault])
})

test('the order does not matter where none is promised', () => {
  expect(faultsOf([3, 2, 1, 4], false)).toEqual([])
})

test('a body has 256 bytes and its number in it', () => {
  expect(bodyOf(1_234_567)).toHaveLength(256)
  expect(numberOf(bodyOf(1_234_567))).toBe(1_234_567)
})

test('several bodies in one broker message are read as several, from a bundle and from a hand-written relay', () => {
  const bodies = [3, 1, 2].map(bodyOf)
  const envelopes = bodies.map((body, index) => ({ id: `${index}`, type: 't', headers: {}, body }))
  const sizes = envelopes.map((envelope) => bytesInBundle(envelope) ?? 0)
  const bundle = encodeBundle(
    envelopes,
    sizes.reduce((sum, size) => sum + size, EMPTY_BUNDLE_BYTES),
  )
  const read = (content: Buffer, contentType?: string): number[] =>
    numbersIn({ content, properties: { contentType } as MessageProperties })
  expect(read(bundle, BUNDLE_CONTENT_TYPE)).toEqual([3, 1, 2])
  expect(read(Buffer.concat(bodies), BODIES_IN_ONE)).toEqual([3, 1, 2])
  expect(read(bodyOf(7))).toEqual([7])
})
