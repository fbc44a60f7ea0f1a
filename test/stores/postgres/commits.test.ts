import { describe, expect, test } from 'vitest'
import { isMersalError } from '../../../src/core/errors/errors.ts'
import { cuttingProxy } from '../../postgres/cutting-proxy.ts'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { claim, labels, message, sent } from '../../postgres/messages.ts'
import { storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()

describe.skipIf(!present)('a commit on PostgreSQL is reported as what it was', () => {
  test('late commit: a row that was written first and committed last is published after those that others committed meanwhile', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const written = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const late = store.unitOfWork(async (tx) => {
      await store.outbox.save(tx, [message('late')])
      written.resolve()
      await go.promise
    })
    await written.promise
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('early')]))
    const first = await claim(store)
    expect(first.map(({ message }) => message.type)).toEqual(['test.early'])
    await store.outbox.settle(first.map(sent))
    go.resolve()
    await late
    expect(await labels(store)).toEqual(['late'])
  })

  test('savepoint: what was sent inside a savepoint that was rolled back is gone, the rest stays', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await store.unitOfWork(async (tx) => {
      await store.outbox.save(tx, [message('before', 'k')])
      await tx.query('savepoint s')
      await store.outbox.save(tx, [message('inside', 'k')])
      await tx.query('rollback to savepoint s')
      await store.outbox.save(tx, [message('after', 'k')])
    })
    expect(await labels(store)).toEqual(['before', 'after'])
  })

  test('deferred constraint: a commit that the server refuses throws its own error, and nothing exists', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema } = harness.database
    await harness.database.query(`create table ${schema}.parent (id int primary key)`)
    await harness.database.query(
      `create table ${schema}.child (id int references ${schema}.parent deferrable initially deferred)`,
    )
    const unit = store.unitOfWork(async (tx) => {
      await tx.query(`insert into ${schema}.child values (1)`)
      await store.outbox.save(tx, [message('phantom')])
    })
    await expect(unit).rejects.toMatchObject({ code: '23503', severity: 'ERROR' })
    expect(await labels(store)).toEqual([])
  })

  test('swallowed error: a commit that the server answers with ROLLBACK throws MERSAL_ROLLED_BACK', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const unit = store.unitOfWork(async (tx) => {
      await store.outbox.save(tx, [message('phantom')])
      await tx.query('select 1 / 0').catch(() => {})
    })
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_ROLLED_BACK' })
    expect(await labels(store)).toEqual([])
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('next')]))
    expect(await labels(store)).toEqual(['next'])
  })

  test('lost commit reply: the unit throws MERSAL_COMMIT_UNKNOWN, is not repeated, and the transaction can be looked up', async () => {
    await using harness = await storeHarness()
    const url = new URL(serverUrl)
    await using proxy = await cuttingProxy(url.hostname, Number(url.port))
    url.port = String(proxy.port)
    await using store = await harness.open({
      pool: harness.database.newPool({ connectionString: url.href }),
      relayPool: harness.database.newPool(),
    })
    let runs = 0
    const error: unknown = await store
      .unitOfWork(async (tx) => {
        runs++
        await store.outbox.save(tx, [message('committed')])
        proxy.cutAfter('commit')
      })
      .catch((thrown: unknown) => thrown)
    if (!isMersalError(error, 'MERSAL_COMMIT_UNKNOWN')) throw error
    expect(runs).toBe(1)
    expect(await store.commitStatus(String(error.details['transactionId']))).toBe('committed')
    expect(await labels(store)).toEqual(['committed'])
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('next')]))
    expect(await labels(store)).toEqual(['next'])
  })

  test('a transaction that was rolled back is looked up as aborted, and one that is open as in progress', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    let id = ''
    const unit = store.unitOfWork(async (tx) => {
      const { rows } = await tx.query<{ id: string }>('select pg_current_xact_id()::text as id')
      id = rows[0]?.id ?? ''
      expect(await store.commitStatus(id)).toBe('in progress')
      throw new Error('rolled back')
    })
    await expect(unit).rejects.toThrow('rolled back')
    expect(await store.commitStatus(id)).toBe('aborted')
  })

  test('a statement that would end the transaction is refused before it is sent, and the unit may go on', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema } = harness.database
    await store.unitOfWork(async (tx) => {
      await tx.query(`insert into ${schema}.business values ('kept')`)
      for (const text of [
        'commit',
        '/* a */ ; ROLLBACK',
        'begin',
        `insert into ${schema}.business values ('not'); end`,
      ]) {
        await expect(tx.query(text)).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_IS_OURS' })
      }
    })
    expect(await harness.read()).toEqual(['kept'])
  })

  test('a serialization failure surfaces as it is, and the unit is run again only if asked', async () => {
    await using harness = await storeHarness()
    const { schema } = harness.database
    await harness.database.query(`insert into ${schema}.business values ('a')`)
    for (const [retrySerialization, expected] of [
      [0, { code: '40001', severity: 'ERROR' }],
      [1, 'done'],
    ] as const) {
      await using store = await harness.open({ isolation: 'repeatable read', retrySerialization })
      let runs = 0
      const result = await store
        .unitOfWork(async (tx) => {
          runs++
          await tx.query(`select * from ${schema}.business`)
          if (runs === 1)
            await harness.database.query(`update ${schema}.business set text = text || 'x'`)
          await tx.query(`update ${schema}.business set text = text || 'y'`)
          return 'done'
        })
        .catch((error: unknown) => error)
      if (typeof expected === 'string') expect(result).toBe(expected)
      else expect(result).toMatchObject(expected)
      expect(runs).toBe(retrySerialization + 1)
    }
  })

  test('terminated connection: units, claims and the waker go on over new connections', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open({ heartbeatMs: 100 })
    const stop = new AbortController()
    let woken = Promise.withResolvers<void>()
    const listening = store.wakers[0]?.(() => woken.resolve(), { signal: stop.signal })
    await woken.promise
    // By the connection itself: from elsewhere, the news may come before or after the next
    // statement is sent.
    const broken = store.unitOfWork((tx) =>
      tx.query('select pg_terminate_backend(pg_backend_pid())'),
    )
    await expect(broken).rejects.toMatchObject({ code: '57P01' })
    // Listener included: its connection shows as idle with LISTEN as its last statement, or the
    // heartbeat.
    woken = Promise.withResolvers<void>()
    const killed = await harness.database.query(
      `select count(pg_terminate_backend(pid))::int as n from pg_stat_activity where application_name = $1 and pid <> pg_backend_pid()`,
      [harness.database.schema],
    )
    expect(killed[0]?.['n']).toBeGreaterThan(0)
    await woken.promise
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('after')]))
    expect(await labels(store)).toEqual(['after'])
    stop.abort()
    await listening
  })
})
