import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { memoryStore } from '../../../src/memory.ts'
import { openMemory } from './support.ts'

/** A store that answers what was refused only when it is told to, and counts who waits for it. */
async function openSlow() {
  const store = memoryStore()
  await store.open()
  const waiting: (() => void)[] = []
  let most = 0
  const refused = async (): Promise<readonly never[]> => {
    most = Math.max(most, waiting.length + 1)
    await new Promise<void>((resolve) => waiting.push(resolve))
    return []
  }
  const operations = { ...store.operations, refused }
  const opened = await openMemory({
    stores: { slow: { ...store, operations }, other: memoryStore() },
    allow: ['pause', 'retry'],
    logger: false,
  })
  /** Answers whoever waits until all of these calls have ended. */
  const settle = async <Result>(calls: readonly Promise<Result>[]): Promise<readonly Result[]> => {
    const ended: Result[] = []
    const all = Promise.all(calls.map(async (call) => void ended.push(await call)))
    while (ended.length < calls.length) {
      waiting.shift()?.()
      await turn()
    }
    await all
    return ended
  }
  return { ...opened, settle, waits: () => waiting.length, most: () => most }
}

test('few calls at a time ask one database: the relay shares its connections', async () => {
  const { get, post, settle, waits, most } = await openSlow()
  const calls = Array.from({ length: 20 }, () => get('api/refused?source=slow'))
  while (waits() < 2) await turn()
  for (let n = 0; n < 20; n++) await turn()
  expect(most()).toBe(2)
  // Neither another database nor a change waits for them.
  expect((await get('api/refused?source=other')).status).toBe(200)
  const pause = { source: 'slow', kind: 'key', name: 'k' }
  expect((await post('api/pauses', pause)).body).toEqual({ changed: true })
  expect((await get('api/overview')).status).toBe(200)
  const answers = await settle(calls)
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
  expect(most()).toBe(2)
})

test('more than wait in line are turned away, and a place that failed is free again', async () => {
  const { get, settle, waits } = await openSlow()
  const ended: unknown[] = []
  const calls = Array.from({ length: 60 }, () =>
    get('api/refused?source=slow').finally(() => ended.push(1)),
  )
  // Two are at work, and fifty wait.
  while (ended.length < 8) await turn()
  expect(waits()).toBe(2)
  const { status, body, headers } = await get('api/refused?source=slow')
  expect([status, body.code, headers.get('retry-after')]).toEqual([503, 'too-many', '2'])
  const statuses = (await settle(calls)).map((one) => one.status)
  expect(statuses.filter((one) => one === 200)).toHaveLength(52)
  for (let n = 0; n < 5; n++)
    expect((await get('api/dead/letter?source=slow&key=none')).status).toBe(404)
})
