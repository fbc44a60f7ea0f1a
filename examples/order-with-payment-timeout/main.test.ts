import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openShop } from './main.ts'

test('an order that is paid is told once, and one that is not is cancelled', async ({
  onTestFinished,
}) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const lines: string[] = []
  const told = Promise.withResolvers<void>()
  const say = (line: string): void => {
    lines.push(line)
    if (lines.length >= 2) told.resolve()
  }
  await using shop = await openShop(folder, say)
  await shop.place('A', 100, 3_600_000)
  await shop.pay('A', 40)
  await shop.pay('A', 60)
  await shop.place('B', 100, 100)
  await told.promise
  expect(lines.toSorted()).toEqual(['order A is paid', 'order B is cancelled, 0 goes back'])
})
