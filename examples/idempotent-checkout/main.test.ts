import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Listener } from '../listen.ts'
import { checkout, openShop, OrderPlaced } from './main.ts'

test('a checkout that is repeated places one order, and every repeat gets its answer', async ({
  onTestFinished,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  await using listener = await new Listener(folder).listen(OrderPlaced.name)
  await using shop = await openShop(folder)
  const post = (key: string | undefined, item: unknown) => checkout(shop.url, key, item)
  expect(await post('k-1', 'book')).toBe('201 {"order":1}')
  expect(await post('k-1', 'book')).toBe('201 (replayed) {"order":1}')
  expect(await post('k-1', 'lamp')).toBe('422 Idempotency-Key was used before')
  expect(await post('k-2', 'book')).toBe('201 {"order":2}')
  expect(await post(undefined, 'book')).toBe('400 Idempotency-Key is missing')
  expect(await post('k-4', 7)).toBe('400 {"error":"expected { \\"item\\": \\"...\\" }"}')
  const both = await Promise.all([post('k-3', 'pen'), post('k-3', 'pen')])
  expect(both.toSorted()).toEqual(['201 (replayed) {"order":3}', '201 {"order":3}'])
  expect(await listener.until(3)).toEqual([
    { order: 1, item: 'book' },
    { order: 2, item: 'book' },
    { order: 3, item: 'pen' },
  ])
})
