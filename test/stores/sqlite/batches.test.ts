import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { Mersal, command } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { sqlite } from '../../../src/sqlite.ts'
import { drain } from '../../../src/testing/index.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'

const Place = command<{ n: number }>('orders.place')

type Work = (n: number, tx: DatabaseSync) => Promise<void> | void

/**
 * Ten commands, handled up to ten in one transaction; returns the numbers of the rows that came of
 * it.
 */
async function handleTen(work: Work): Promise<number[]> {
  using folder = temporaryFolder()
  const path = join(folder.path, 'shop.db')
  const app = new Mersal({
    name: 'shop',
    store: sqlite({ path }),
    transport: memoryTransport(),
    receive: { immediateRetries: 0, maxDeliveries: 2, backoff: { firstMs: 5, longestMs: 5 } },
    logger: false,
  })
  app.handle(Place, ({ n }, { tx }) => work(n, tx), { batch: 10 })
  await app.transaction(async (tx, { sendLocal }) => {
    tx.exec(
      'create table business (n integer not null); create table taken (n integer primary key); insert into taken values (2)',
    )
    for (let n = 1; n <= 10; n++) await sendLocal(Place, { n })
  })
  await app.start()
  await drain(app)
  await app.stop()
  using database = new DatabaseSync(path)
  return database
    .prepare('select n from business order by n')
    .all()
    .map(({ n }) => Number(n))
}

const all = Array.from({ length: 10 }, (_, index) => index + 1)
const write = (n: number, tx: DatabaseSync): void =>
  void tx.prepare('insert into business values (?)').run(n)

test('several messages in one transaction have their effects once', async () => {
  expect(await handleTen(write)).toEqual(all)
})

test('a failure that ends the transaction, and that a handler hides, lets no neighbour write outside of one', async () => {
  const numbers = await handleTen((n, tx) => {
    write(n, tx)
    try {
      if (n === 2) tx.exec('insert or rollback into taken values (2)')
    } catch {
      // hidden
    }
  })
  expect(numbers).toEqual(all.filter((n) => n !== 2))
})

test('one that tries to commit by itself is refused, and costs no other message its handling', async () => {
  let failed = false
  const numbers = await handleTen((n, tx) => {
    if (n === 6 && !failed) {
      failed = true
      throw new Error('the first try fails')
    }
    write(n, tx)
    if (n === 4)
      expect(() => tx.exec('commit')).toThrow(
        expect.objectContaining({ code: 'MERSAL_TRANSACTION_IS_OURS' }),
      )
  })
  expect(numbers).toEqual(all)
})

test('a unit of its own inside a handler is noticed as waiting for itself', async () => {
  using folder = temporaryFolder()
  const store = sqlite({ path: join(folder.path, 'shop.db'), busyTimeoutMs: 50 })
  const app = new Mersal({
    name: 'shop',
    store,
    transport: memoryTransport(),
    receive: { maxDeliveries: 1 },
    logger: false,
  })
  const codes: unknown[] = []
  app.handle(
    Place,
    async () => {
      await store
        .unitOfWork(async () => {})
        .catch((error: { code?: unknown }) => void codes.push(error.code))
    },
    { batch: 5 },
  )
  await app.transaction(async (_, { sendLocal }) => {
    for (let n = 1; n <= 5; n++) await sendLocal(Place, { n })
  })
  await app.start()
  await drain(app)
  await app.stop()
  expect(codes).toEqual(all.slice(0, 5).map(() => 'MERSAL_STORE_BUSY'))
})
