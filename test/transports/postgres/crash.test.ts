import { Pool } from 'pg'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { Mersal } from '../../../src/index.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { clusterAvailable, privateCluster } from '../../postgres/cluster.ts'
import { testDatabase } from '../../postgres/database.ts'
import { Work } from '../../postgres/queue-harness.ts'

const present = clusterAvailable()

describe.skipIf(!present)(
  'a PostgreSQL server that loses its power, with queue and store in one schema',
  () => {
    test('P1: with synchronous_commit = off, nothing was delivered that the recovered database does not have', {
      timeout: 240_000,
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
        const consumption = await reader.consume(
          { queue: 'q', concurrency: 1000 },
          ({ message }) => {
            delivered.push(
              (JSON.parse(new TextDecoder().decode(message.body)) as { label: string }).label,
            )
            if (delivered.filter((label) => label.startsWith(`taken ${round}.`)).length === 20)
              seen.resolve()
            return new Promise(() => {})
          },
        )
        await seen.promise
        void consumption
        await reader[Symbol.asyncDispose]()
        for (let n = 0; n < 20; n++) await write(`untaken ${round}.${n}`)
        await cluster.kill()
        await cluster.start()
        const rows = await untilAnswered(() =>
          database.query(`select text from ${schema}.business`),
        )
        const kept = new Set(rows.map((row) => String(row['text'])))
        for (const label of delivered) expect(kept).toContain(label)
        for (let n = 0; n < 20; n++) if (!kept.has(`untaken ${round}.${n}`)) lost++
        // What was lost was lost as a whole: as many messages as business rows, none of them
        // acknowledged.
        const [count] = await database.query(
          `select count(*)::int as n from ${schema}.queue_message`,
        )
        expect(count?.['n']).toBe(kept.size)
        await database.query(
          `update ${schema}.queue_message set visible_at = now() where token is not null`,
        )
      }
      // The test is worth something only if the server really lost commits that had been answered.
      expect(lost).toBeGreaterThan(0)
    })

    test('P10: while the server is away nothing is confirmed; when it is back, consumers go on by themselves', {
      timeout: 240_000,
    }, async () => {
      await using cluster = await privateCluster()
      const pool = new Pool({ connectionString: cluster.url, connectionTimeoutMillis: 5000 })
      // A delivery whose answer the kill has swallowed holds up its key that long.
      const options = { pool, logger: silentLogger, pollIntervalMs: 100, visibilityMs: 3000 }
      await using reader = postgresQueue(options)
      await using writer = postgresQueue(options)
      const delivered: string[] = []
      let changed = Promise.withResolvers<void>()
      await reader.consume({ queue: 'q', concurrency: 5 }, ({ message }) => {
        delivered.push(message.id)
        changed.resolve()
        changed = Promise.withResolvers()
        return Promise.resolve({ kind: 'ack' })
      })
      const to = { transport: 'default', kind: 'queue', name: 'q' } as const
      const send = async (id: string): Promise<string | undefined> =>
        (
          await Promise.all(
            writer.publish([
              { id, type: 't', headers: {}, body: new Uint8Array(), to, partitionKey: 'k' },
            ]),
          )
        )[0]?.kind
      for (const round of [1, 2]) {
        expect(await send(`before ${round}`)).toBe('confirmed')
        while (!delivered.includes(`before ${round}`)) await changed.promise
        await cluster.kill()
        expect(['unavailable', 'unknown']).toContain(await send(`lost ${round}`))
        await using late = postgresQueue(options)
        await expect(late.subscribe('q', [])).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
        await cluster.start()
        while ((await send(`after ${round}`)) !== 'confirmed');
        while (!delivered.includes(`after ${round}`)) await changed.promise
      }
      // What was not acknowledged before the kill comes again, and an unknown one may be there
      // after all; the order is kept.
      const sure = [...new Set(delivered)].filter((id) => !id.startsWith('lost'))
      expect(sure).toEqual(['before 1', 'after 1', 'before 2', 'after 2'])
      await pool.end()
    })
  },
)

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
