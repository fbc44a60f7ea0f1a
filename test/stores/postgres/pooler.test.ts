import { describe, expect, test } from 'vitest'
import { statements } from '../../../src/stores/postgres/statements/statements.ts'
import type { Logger } from '../../../src/core/telemetry.ts'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { claim, labelOf, message, sent } from '../../postgres/messages.ts'
import { pgbouncer, pgbouncerAvailable } from '../../postgres/pgbouncer.ts'
import { storeHarness } from '../../postgres/store-harness.ts'

const present = pgbouncerAvailable() && (await serverAnswers())

function collecting(): { readonly warnings: string[]; readonly logger: Logger } {
  const warnings: string[] = []
  const nothing = (): void => {}
  return {
    warnings,
    logger: {
      debug: nothing,
      info: nothing,
      error: nothing,
      warn: (_, text) => void warnings.push(text),
    },
  }
}

describe.skipIf(!present)('a pooler in transaction mode (pgbouncer)', () => {
  test('the waker finds it, warns once and leaves the work to polling; units, claims and migrations work through it', async () => {
    await using pooler = await pgbouncer(serverUrl)
    await using harness = await storeHarness()
    const { logger, warnings } = collecting()
    await using store = await harness.open({
      pool: harness.database.newPool({ connectionString: pooler.url }),
      logger,
    })
    const stop = new AbortController()
    let woken = 0
    const wake = (): void => {
      woken++
    }
    const waiting = store.wakers[0]?.(wake, { signal: stop.signal })
    for (const label of ['1', '2', '3']) {
      const saved = await store.unitOfWork((tx) =>
        store.outbox.save(tx, [message(label, 'k')], {
          express: { token: '00000000-0000-7000-8000-000000000001', graceMs: 60_000 },
        }),
      )
      expect(saved[0]?.kind).toBe(label === '1' ? 'born-claimed' : 'row')
      expect(
        await store.unitOfWork((tx) =>
          store.tracker.track(tx, { consumer: 'c', messageId: label }),
        ),
      ).toBe('first')
    }
    const many = Array.from({ length: 20 }, (_, index) => `free ${index}`)
    await Promise.all(
      many.map((label) => store.unitOfWork((tx) => store.outbox.save(tx, [message(label)]))),
    )
    const rows = await claim(store)
    expect(new Set(rows.map(labelOf))).toEqual(new Set(many))
    expect(await store.outbox.settle(rows.map(sent))).toEqual({ stale: 0 })
    while (warnings.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort()
    await waiting
    expect(warnings).toEqual([expect.stringContaining('pooler in transaction mode')])
    expect(woken).toBe(0)
  })

  test('statements are prepared under names on a direct connection, and not behind the pooler unless asked', async () => {
    await using pooler = await pgbouncer(serverUrl)
    await using harness = await storeHarness()
    const names = async (options: {
      readonly url: string
      readonly prepare?: boolean
    }): Promise<unknown[]> => {
      const pool = harness.database.newPool({ connectionString: options.url, max: 1 })
      await using store = await harness.open({
        pool,
        ...(options.prepare === undefined ? {} : { prepare: options.prepare }),
      })
      return await store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, [message('one')])
        const { rows } = await tx.query(
          'select statement from pg_prepared_statements where name like $1 order by prepare_time',
          ['mersal_%'],
        )
        return rows.map((row) => row['statement'])
      })
    }
    const prepared = ['begin', statements(harness.database.schema).saveOne]
    expect(await names({ url: serverUrl })).toEqual(prepared)
    expect(await names({ url: serverUrl, prepare: false })).toEqual([])
    expect(await names({ url: pooler.url })).toEqual([])
  })

  test('with a relay pool of direct connections, notifications arrive', async () => {
    await using pooler = await pgbouncer(serverUrl)
    await using harness = await storeHarness()
    const { logger, warnings } = collecting()
    const relayPool = harness.database.newPool()
    await using store = await harness.open({
      pool: harness.database.newPool({ connectionString: pooler.url }),
      relayPool,
      logger,
    })
    const stop = new AbortController()
    let woken = Promise.withResolvers<void>()
    const waiting = store.wakers[0]?.(() => woken.resolve(), { signal: stop.signal })
    await woken.promise
    woken = Promise.withResolvers<void>()
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('one')]))
    await woken.promise
    stop.abort()
    await waiting
    expect(warnings).toEqual([])
  })
})
