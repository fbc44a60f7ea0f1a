import { describe, expect, test } from 'vitest'
import { serverAnswers } from '../../postgres/database.ts'
import { claim, labelOf, message } from '../../postgres/messages.ts'
import { storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()

describe.skipIf(!present)('bad input and damaged rows on PostgreSQL', () => {
  test('tampered rows become dead letters or wait, and never hold up the others', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema } = harness.database
    const damages: Record<string, string> = {
      'headers no json': `headers = 'not json'`,
      'headers a list': `headers = '[1]'`,
      'headers of numbers': `headers = '{"a": 1}'`,
      'headers null': `headers = 'null'`,
      'attempts negative': 'attempts = -5',
      'attempts huge': 'attempts = 2147483647',
      'due year 9999': `visible_at = '9999-12-31'`,
      'due since ever': `visible_at = '-infinity'`,
      'token without claim': 'token = gen_random_uuid()',
      'no name': `name = '', transport = ''`,
      'unknown kind': `kind = 'exchange'`,
      'empty type': `type = ''`,
    }
    await store.unitOfWork((tx) =>
      store.outbox.save(tx, [
        ...Object.keys(damages).map((label) => message(label)),
        message('sound'),
      ]),
    )
    for (const [label, change] of Object.entries(damages)) {
      await harness.database.query(`update ${schema}.outbox set ${change} where type = $1`, [
        `test.${label}`,
      ])
    }
    const rows = await claim(store)
    expect(rows.map(labelOf)).toEqual([
      'attempts negative',
      'attempts huge',
      'due since ever',
      'token without claim',
      'sound',
    ])
    expect(rows.find((row) => labelOf(row) === 'attempts negative')?.attempt).toBe(1)
    expect(rows.find((row) => labelOf(row) === 'attempts huge')?.attempt).toBe(1_000_001)
    const letters = await store.admin.deadLetters.list()
    expect(letters.map(({ type, reason }) => [type, reason])).toEqual(
      [
        'test.headers no json',
        'test.headers a list',
        'test.headers of numbers',
        'test.headers null',
        'test.no name',
        'test.unknown kind',
        '',
      ].map((type) => [type, 'malformed']),
    )
    expect(await store.admin.stats()).toMatchObject({ pending: 6, dead: 7 })
    const far = await store.outbox.settle(
      rows.map(({ position, token }) => ({
        kind: 'retry',
        position,
        token,
        delayMs: 0,
        error: new Error('\ud800 \0 refused'),
      })),
    )
    expect(far).toEqual({ stale: 0 })
  })

  test.each([
    ['a NUL in a header', { headers: { a: 'x\0y' } }],
    ['a lone surrogate in a header', { headers: { a: '\ud800' } }],
    ['a NUL in a key', { partitionKey: 'a\0b' }],
    ['an id that is no UUID', { id: 'one' }],
  ])('%s is refused before the transaction of the user is spoilt', async (_name, change) => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await store.unitOfWork(async (tx) => {
      await expect(store.outbox.save(tx, [{ ...message('bad'), ...change }])).rejects.toMatchObject(
        { code: 'MERSAL_INVALID_MESSAGE' },
      )
      await store.outbox.save(tx, [message('good')])
    })
    expect((await claim(store)).map(labelOf)).toEqual(['good'])
  })

  test('a body of 16 MB and 10,000 headers arrive unchanged, and positions beyond 2^53 are exact', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema } = harness.database
    await harness.database.query(
      `alter table ${schema}.outbox alter column position restart with 9007199254740993`,
    )
    const body = new Uint8Array(16 * 1024 * 1024).map((_, index) => (index * 31) % 256)
    const headers = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, index) => [`header-${index}`, `value ${index}`]),
    )
    await store.unitOfWork((tx) =>
      store.outbox.save(tx, [{ ...message('large'), body, headers }, message('small')]),
    )
    const [large, small] = await claim(store)
    expect(large?.position).toBe(9007199254740993n)
    expect(small?.position).toBe(9007199254740994n)
    expect(Buffer.from(large?.message.body ?? []).equals(body)).toBe(true)
    expect(large?.message.headers).toEqual(headers)
    const settled = await store.outbox.settle(
      [large, small].flatMap((row) =>
        row === undefined ? [] : [{ kind: 'sent' as const, ...row }],
      ),
    )
    expect(settled).toEqual({ stale: 0 })
  })

  test('one claim carries at most 32 MB of bodies, and always at least one row', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const body = new Uint8Array(12 * 1024 * 1024)
    for (const label of ['1', '2', '3', '4']) {
      await store.unitOfWork((tx) => store.outbox.save(tx, [{ ...message(label, 'k'), body }]))
    }
    expect((await claim(store)).map(labelOf)).toEqual(['1', '2', '3'])
  })
})
