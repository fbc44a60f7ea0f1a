import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Listener } from '../listen.ts'
import { MoneyMoved, balances, openBank, transfer } from './main.ts'

test('a transfer that fails moves no money and tells nobody', async ({ onTestFinished }) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  await using listener = await new Listener(folder).listen(MoneyMoved.name)
  await using app = await openBank(folder, { anna: 100, ben: 0 })

  await expect(transfer(app, 'anna', 'ben', 101)).rejects.toThrow('CHECK constraint failed')
  await transfer(app, 'anna', 'ben', 60)
  await transfer(app, 'anna', 'ben', 40)

  expect(await balances(app)).toEqual({ anna: 0, ben: 100 })
  expect(await listener.until(2)).toEqual([
    { from: 'anna', to: 'ben', cents: 60 },
    { from: 'anna', to: 'ben', cents: 40 },
  ])
})
