import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { Mersal } from '../../../src/index.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { clusterAvailable, privateCluster } from '../../postgres/cluster.ts'
import { testDatabase } from '../../postgres/database.ts'
import { Work } from '../../postgres/queue-harness.ts'

const present = clusterAvailable()

describe.skipIf(!present)('a PostgreSQL server that loses its power, with queue and store in one schema', () => {
  test('P1: with synchronous_commit = off, nothing was delivered that the recovered database does not have', {
    timeout: 120_000,
  }, async () => {
    await using cluster = await privateCluster()
    await using database = await testDatabase(cluster.url)
    const { schema } = database
    const relaxed = { options: '-c synchronous_commit=off' }
    let lost = 0
    for (let round = 0; round < 4; round++) {
      const own = { pool: database.newPool(relaxed), schema, logger: silentLogger }
      await using reader = postgresQueue({ ...own, pollIntervalMs: 10 })
      await using app = new Mersal({
        name: 'desk',
        store: postgres(own),
        transport: postgresQueue(own),
        sendOnly: true,
        routes: { 'test.work': 'q' },
        outbox: { runRelay: false },
        logger: false,
      })
      await untilAnswered(() => reader.subscribe('q', []))
      await app.start()
      const write = (label: string) =>
        app.transaction(async (tx, { send }) => {
          await tx.query(`insert into ${schema}.business values ($1)`, [label])
          await send(Work, { label })
        })
      // Without it, an asynchronous commit stays in memory until somebody flushes it.
      await cluster.holdWalWriter()
      const delivered: string[] = []
      const seen = Promise.withResolvers<void>()
      for (let n = 0; n < 20; n++) await write(`taken ${round}.${n}`)
      const consumption = await reader.consume({ queue: 'q', concurrency: 1000 }, ({ message }) => {
        delivered.push((JSON.parse(new TextDecoder().decode(message.body)) as { label: string }).label)
        if (delivered.filter((label) => label.startsWith(`taken ${round}.`)).length === 20) seen.resolve()
        return new Promise(() => {})
      })
      await seen.promise
      void consumption
      await reader[Symbol.asyncDispose]()
      for (let n = 0; n < 20; n++) await write(`untaken ${round}.${n}`)
      await cluster.kill()
      await cluster.start()
      const rows = await untilAnswered(() => database.query(`select text from ${schema}.business`))
      const kept = new Set(rows.map((row) => String(row['text'])))
      for (const label of delivered) expect(kept).toContain(label)
      for (let n = 0; n < 20; n++) if (!kept.has(`untaken ${round}.${n}`)) lost++
      // What was lost was lost as a whole: as many messages as business rows, none of them acknowledged.
      const [count] = await database.query(`select count(*)::int as n from ${schema}.queue_message`)
      expect(count?.['n']).toBe(kept.size)
      await database.query(`update ${schema}.queue_message set visible_at = now() where token is not null`)
    }
    // The test is worth something only if the server really lost commits that had been answered.
    expect(lost).toBeGreaterThan(0)
  })
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
