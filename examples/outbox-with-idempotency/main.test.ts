import { mkdtempSync, rmSync } from 'node:fs'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/index.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { InvoicePaid, openLedger } from './main.ts'

/** Resolves after this number of deliveries have been handled or skipped. */
function handled(count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let seen = 0
  const onHandled = (): void => {
    seen += 1
    if (seen < count) return
    unsubscribe('mersal:handle', onHandled)
    resolve()
  }
  subscribe('mersal:handle', onHandled)
  return promise
}

test('a message that is delivered three times is booked once', async ({ onTestFinished }) => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const { app, database } = await openLedger(folder)
  onTestFinished(() => database.close())
  await using _app = app
  await using broker = sqliteQueue({ path: `${folder}/broker.db` })

  const message = (id: string, cents: number): OutgoingMessage => ({
    id,
    type: InvoicePaid.name,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify({ account: 'anna', cents })),
    to: { transport: 'default', kind: 'topic', name: InvoicePaid.name },
  })
  const done = handled(4)
  await Promise.all(
    broker.publish([
      message('one', 60),
      message('one', 60),
      message('two', 40),
      message('one', 60),
    ]),
  )
  await done

  const entries = database.prepare('SELECT cents FROM entries ORDER BY cents').all()
  expect(entries.map(({ cents }) => cents)).toEqual([40, 60])
})
