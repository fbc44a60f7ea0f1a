import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { needed } from '../../../src/transports/redis/rights.ts'
import { transportRights } from '../../redis/rights.ts'

const folder = new URL('../../../src/transports/redis/', import.meta.url)

/** What the scripts call. */
const called = readdirSync(folder).flatMap((file) =>
  [...readFileSync(new URL(file, folder), 'utf8').matchAll(/redis\.p?call\('([A-Z]+)'/g)].map(
    ([, name]) => name as string,
  ),
)
/** What consumers do beside scripts. */
const heard = ['SUBSCRIBE', 'UNSUBSCRIBE']

test('the rights that are asked for are those of the commands that are used', () => {
  const asked = needed.map(([name]) => name)
  expect(new Set(asked)).toEqual(new Set([...called, ...heard]))
})

test('the page lists each of them', () => {
  const listed = new Set(transportRights.map((right) => right.slice(1).split('|')[0]))
  expect(
    needed.map(([name = '']) => name.toLowerCase()).filter((name) => !listed.has(name)),
  ).toEqual([])
})
