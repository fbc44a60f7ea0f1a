import { describe, expect, test } from 'vitest'
import { clusterAvailable, privateCluster } from '../../postgres/cluster.ts'
import { testDatabase } from '../../postgres/database.ts'
import { message, newToken } from '../../postgres/messages.ts'
import { writer } from '../../postgres/race.ts'
import { postgres } from '../../../src/postgres.ts'
import { seededRandom } from '../../../scripts/seeded-random.ts'

const present = clusterAvailable()

describe.skipIf(!present)('a PostgreSQL server that loses its power', () => {
  test('with synchronous_commit = off, nothing was published that the recovered database does not have', {
    timeout: 240_000,
  }, async () => {
    await using cluster = await privateCluster()
    await using database = await testDatabase(cluster.url)
    const { schema } = database
    await using store = postgres({
      pool: database.newPool({ options: '-c synchronous_commit=off' }),
      relayPool: database.newPool({ options: '-c synchronous_commit=off' }),
      schema,
    })
    await store.open()
    const write = (label: string) =>
      store.unitOfWork(async (tx) => {
        await tx.query(`insert into ${schema}.business values ($1)`, [label])
        await store.outbox.save(tx, [message(label)])
      })
    let lost = 0
    for (let round = 0; round < 5; round++) {
      // Without it, an asynchronous commit stays in memory until somebody flushes it.
      await cluster.holdWalWriter()
      for (let n = 0; n < 20; n++) await write(`claimed ${round}.${n}`)
      const published = await store.outbox.claim({ limit: 100, claimMs: 60_000, token: newToken() })
      for (let n = 0; n < 20; n++) await write(`unclaimed ${round}.${n}`)
      await cluster.kill()
      await cluster.start()
      const rows = await untilAnswered(() => database.query(`select text from ${schema}.business`))
      const kept = new Set(rows.map((row) => row['text']))
      expect(published.length).toBeGreaterThanOrEqual(20)
      for (const row of published) expect(kept).toContain(row.message.type.replace('test.', ''))
      for (let n = 0; n < 20; n++) if (!kept.has(`unclaimed ${round}.${n}`)) lost++
      // What was lost was lost as a whole: as many messages as business rows.
      const [count] = await database.query(`select count(*)::int as n from ${schema}.outbox`)
      expect(count?.['n']).toBe(kept.size)
    }
    // The test is worth something only if the server really lost commits that had been answered.
    expect(lost).toBeGreaterThan(0)
  })

  test.each(['read committed', 'serializable'] as const)(
    'per key, the order of positions is the order of commits at %s',
    { timeout: 240_000 },
    async (isolation) => {
      await using cluster = await privateCluster({ track_commit_timestamp: 'on', fsync: 'off' })
      await using database = await testDatabase(cluster.url)
      const { schema } = database
      await using stack = new AsyncDisposableStack()
      const random = seededRandom(11)
      const writers = []
      for (let index = 0; index < 4; index++) {
        const store = stack.use(
          postgres({ pool: database.newPool(), schema, isolation, retrySerialization: 100 }),
        )
        await store.open()
        writers.push(writer(store, { keys: 5, units: 200, random }))
      }
      const written = (await Promise.all(writers)).reduce((sum, count) => sum + count, 0)
      const [result] = await database.query(
        `select count(*)::int as rows, count(*) filter (where committed < before)::int as inversions from (
           select key, position, pg_xact_commit_timestamp(xmin) as committed,
             lag(pg_xact_commit_timestamp(xmin)) over (partition by key order by position) as before
           from ${schema}.outbox) o`,
      )
      expect(result).toEqual({ rows: written, inversions: 0 })
    },
  )
})

/** The pool finds out one by one that its connections are dead. */
async function untilAnswered<Result>(ask: () => Promise<Result>): Promise<Result> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask()
    } catch (error) {
      if (tries >= 20) throw error
    }
  }
}
