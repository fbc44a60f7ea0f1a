import { describe, expect, test } from 'vitest'
import { kindsHere, openBench } from './stores.ts'

const state = { lines: 2, note: 'secret <b>' }

describe.concurrent.each(await kindsHere())('mersal saga on %s', { timeout: 240_000 }, (kind) => {
  test('lists instances without their state, and shows one with it', async () => {
    await using bench = await openBench(kind)
    const { mersal } = bench.project
    const { sagas, unitOfWork } = bench.store
    if (sagas === undefined) throw new Error('the store has no sagas')
    expect(await mersal(['saga', 'list'])).toMatchObject({ code: 0, stdout: 'no instances\n' })
    expect((await mersal(['migrate'])).stdout).toMatch(/sagas?.*from version 0 to 1/)
    for (const key of ['o1', 'o2', 'o3'])
      await unitOfWork(async (tx) => {
        const of = { app: 'shop', saga: 'order', key }
        await sagas.load(tx, of)
        await sagas.store(tx, of, {
          id: '018f0000-0000-7000-8000-000000000001',
          version: 3,
          state: JSON.stringify(state),
          timeouts: '{"last":2,"numbers":{"unpaid":2}}',
        })
      })

    const listed = await mersal(['saga', 'list', '--saga', 'order', '--limit', '2', '--json'])
    expect(listed.code).toBe(0)
    expect(JSON.parse(listed.stdout)).toMatchObject([
      { app: 'shop', saga: 'order', key: 'o1', version: 3 },
      { key: 'o2' },
    ])
    expect(listed.stdout).not.toContain('secret')
    expect(listed.stderr).toContain('a higher --limit')

    const shown = await mersal(['saga', 'show', 'shop', 'order', 'o3', '--json'])
    expect(JSON.parse(shown.stdout)).toMatchObject({ key: 'o3', timeouts: ['unpaid'], state })
    expect((await mersal(['saga', 'show', 'shop', 'order', 'o3'])).stdout).toContain(
      'timeouts: ["unpaid"]',
    )
    expect(await mersal(['saga', 'show', 'shop', 'order', 'o9'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("has no instance 'o9'") as string,
    })
    expect((await mersal(['saga', 'show', 'shop'])).code).toBe(2)
  })
})
