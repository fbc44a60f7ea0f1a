import connectKnex, { type Knex } from 'knex'
import { afterAll, describe, expect, test } from 'vitest'
import { Mersal, type Store } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { type Isolation, mysql, type Session } from '../../../src/mysql.ts'
import { knex } from '../../../src/sql/sessions/knex.ts'
import { reusedDatabases, serverAnswers, type TestDatabase } from '../../mysql/server.ts'

const present = await serverAnswers()
const databases = reusedDatabases()
afterAll(() => databases[Symbol.asyncDispose]())

const shop = <Tx>(store: Store<Tx>): Mersal<Tx> =>
  new Mersal({ name: 'shop', store, transport: memoryTransport(), logger: false })

/** Ends the transaction as the server itself does: another one, with more rows, wins a deadlock. */
async function deadlock(
  { pool }: TestDatabase,
  update: (id: number) => Promise<unknown>,
): Promise<void> {
  const rival = await pool.getConnection()
  const rivals = (id: number) => rival.query('update pair set n = n + 1 where id = ?', [id])
  await rival.query('start transaction')
  for (const id of [1, 3, 4, 5, 6]) await rivals(id)
  await update(2)
  const waiting = rivals(2)
  try {
    await update(1)
  } finally {
    await waiting
    await rival.query('rollback')
    rival.release()
  }
}

/** A session whose first statement that looks like this meets a deadlock. */
function unlucky(
  session: Session<Knex.Transaction>,
  database: TestDatabase,
  hits: (text: string) => boolean,
): { readonly session: Session<Knex.Transaction>; readonly count: () => number } {
  let count = 0
  const executor: Session<Knex.Transaction>['executor'] = (tx) => {
    const real = session.executor(tx)
    return {
      async query(text, ...rest) {
        if (hits(text) && count++ === 0)
          await deadlock(database, (id) => real.query(`update pair set n = n + 1 where id = ${id}`))
        return real.query(text, ...rest)
      },
    }
  }
  return { session: { ...session, executor }, count: () => count }
}

describe.skipIf(!present)('app.once on MySQL', () => {
  test.each<Isolation>(['read committed', 'repeatable read'])(
    'at %s requests with other keys neither wait for each other nor meet a deadlock',
    async (isolation) => {
      const database = await databases.next()
      const app = shop(mysql({ pool: database.pool, isolation }))
      const all = Promise.withResolvers<void>()
      let runs = 0
      const call = (key: string) =>
        app.once({ key, waitMs: 0 }, async () => {
          if (++runs === 4) all.resolve()
          await all.promise
          return key
        })
      await app.once({ key: 'm' }, async () => 'first')
      const keys = ['a', 'b', 'x', 'z']
      const results = await Promise.all(keys.map(call))
      expect(results.map(({ response }) => response)).toEqual(keys)
      expect(runs).toBe(4)
      await app.stop()
    },
    10_000,
  )

  test('a repeat hears at once that the request runs, in another process too', async () => {
    const database = await databases.next()
    const one = shop(mysql({ pool: database.newPool() }))
    const other = shop(mysql({ pool: database.newPool() }))
    await other.once({ key: 'warm' }, async () => 1)
    await one.once({ key: 'held' }, async () => {
      const began = performance.now()
      const repeat = other.once({ key: 'held', waitMs: 0 }, async () => 'twice')
      await expect(repeat).rejects.toMatchObject({ code: 'MERSAL_ONCE_RUNNING' })
      expect(performance.now() - began).toBeLessThan(900)
      return 'once'
    })
    await Promise.all([one.stop(), other.stop()])
  })

  test.each([
    ['the first statement', (text: string) => text.includes('fingerprint')],
    ['the insert', (text: string) => text.includes('insert into') && text.includes('fingerprint')],
  ])(
    'a deadlock that ends the transaction in %s of a claim: nothing runs outside of a transaction',
    async (_what, hits) => {
      const database = await databases.next()
      await database.query('create or replace table pair (id int primary key, n int not null)')
      await database.query('insert into pair select seq, 0 from seq_1_to_6')
      const db = connectKnex({
        client: 'mysql2',
        connection: database.url,
        pool: { min: 0, max: 3 },
      })
      const { session, count } = unlucky(knex<Knex.Transaction>(db), database, hits)
      const app = shop(mysql({ pool: database.pool, session }))
      let runs = 0
      const open: unknown[] = []
      const result = await app.once({ key: 'k' }, async (tx) => {
        runs++
        await tx('business').insert({ text: `run ${runs}` })
        const [[row]] = (await tx.raw('select @@in_transaction as open')) as [[{ open: unknown }]]
        open.push(Number(row.open))
        return runs
      })
      expect(count()).toBeGreaterThan(1)
      expect(open).toEqual([1])
      expect(result).toEqual({ response: 1, replayed: false })
      expect(await database.query('select text from business')).toEqual([{ text: 'run 1' }])
      expect(await app.once({ key: 'k' }, async () => 2)).toEqual({ response: 1, replayed: true })
      await app.stop()
      await db.destroy()
    },
  )
})
