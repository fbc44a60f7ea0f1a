import { expect, test } from 'vitest'
import { difference } from '../../../src/lib/difference.ts'

test('names the path of the first difference, and nothing where there is none', () => {
  const one = { id: 1, lines: [{ sku: 'tea' }, { sku: 'milk', no: undefined }] }
  expect(difference(one, structuredClone(one))).toBeUndefined()
  expect(difference(one, JSON.parse(JSON.stringify(one)))).toBeUndefined()
  expect(difference(one, { ...one, lines: [{ sku: 'tea' }, { sku: 'rum' }] })).toEqual([
    'lines',
    '1',
    'sku',
  ])
  expect(difference({ a: 1, b: 2 }, { a: 2, b: 3 })).toEqual(['a'])
  expect(difference([1, 2, undefined], [1, 2])).toEqual([])
  expect(difference([1, 2, 3], [1, 2])).toEqual(['2'])
  expect(difference({ a: [1] }, { a: { 0: 1 } })).toEqual(['a'])
  expect(difference({ a: /b/.exec('abc') }, { a: ['b'] })).toEqual(['a'])
})

test('values that hold themselves are compared, and so are deep ones', () => {
  const circle: { name: string; self?: unknown } = { name: 'a' }
  circle.self = circle
  expect(difference(circle, structuredClone(circle))).toBeUndefined()
  const other = structuredClone(circle)
  other.name = 'b'
  expect(difference(circle, other)).toEqual(['name'])
  const longer = { name: 'a', self: { name: 'a' as string, self: undefined as unknown } }
  longer.self.self = longer
  expect(difference(circle, longer)).toBeUndefined()
  const deep = (last: number): unknown => {
    let value: unknown = last
    for (let level = 0; level < 20_000; level++) value = [value]
    return value
  }
  expect(difference(deep(1), deep(1))).toBeUndefined()
  expect(difference(deep(1), deep(2))).toHaveLength(20_000)
})

test('bytes of every kind are compared as a whole', () => {
  const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
  expect(difference({ a: bytes(1, 2) }, { a: Buffer.from([1, 2]) })).toBeUndefined()
  expect(difference({ a: bytes(1, 2) }, { a: bytes(1, 3) })).toEqual(['a'])
  expect(
    difference(
      new DataView(bytes(7).buffer as ArrayBuffer),
      new DataView(bytes(7).buffer as ArrayBuffer),
    ),
  ).toBeUndefined()
  expect(
    difference(
      new DataView(bytes(7).buffer as ArrayBuffer),
      new DataView(bytes(8).buffer as ArrayBuffer),
    ),
  ).toEqual([])
  expect(difference(bytes(7).buffer, bytes(7).buffer)).toBeUndefined()
  expect(difference(bytes(7).buffer, bytes(7))).toEqual([])
})
