import { expect, test } from 'vitest'
import { changeLetters, walk } from '../../../src/operate/letters.ts'
import type { DeadLetter, DeadLetterBox } from '../../../src/index.ts'
import { sqlite } from '../../../src/sqlite.ts'
import { message } from '../stores.ts'

const MEGABYTE = 1024 * 1024

function letter(n: number, bytes: number): DeadLetter {
  return {
    key: String(n),
    direction: 'outgoing',
    id: '1',
    type: 't',
    headers: {},
    body: new Uint8Array(bytes),
    place: 'default/queue/q',
    reason: 'refused',
    error: '',
    attempts: 1,
    history: [],
    diedAt: 0,
    maybePublished: false,
    blocksKey: false,
  }
}

/** Letters with the keys 1 to `count`, and the most bytes that were ever handed out at once. */
function boxOf(
  count: number,
  bytes: number,
): { readonly box: DeadLetterBox; readonly most: () => number } {
  let most = 0
  return {
    most: () => most,
    box: {
      list: ({ limit = 100, after = '0' } = {}) => {
        const length = Math.max(0, Math.min(limit, count - Number(after)))
        most = Math.max(most, length * bytes)
        return Promise.resolve(
          Array.from({ length }, (_, index) => letter(Number(after) + index + 1, bytes)),
        )
      },
      retry: (keys) => Promise.resolve(keys.length),
      discard: (keys) => Promise.resolve(keys.length),
    },
  }
}

test('a walk over large dead letters holds few of them at a time, and meets each once', async () => {
  const { box, most } = boxOf(500, MEGABYTE)
  let next = 1
  await walk(box, {
    decide({ key }) {
      expect(Number(key)).toBe(next++)
      return 'keep'
    },
  })
  expect(next).toBe(501)
  expect(most()).toBeLessThanOrEqual(10 * MEGABYTE)
})

test('small ones come in pages of a hundred', async () => {
  const { box, most } = boxOf(1000, 10)
  await walk(box, { decide: () => 'keep' })
  expect(most()).toBe(1000)
})

test('a letter that dies again at once is not retried again by the same call', {
  timeout: 240_000,
}, async () => {
  await using store = sqlite({ path: ':memory:' })
  const kill = async (): Promise<void> => {
    const rows = await store.outbox.claim({ limit: 1000, claimMs: 60_000, token: 'token' })
    await store.outbox.settle(
      rows.map(({ position, token }) => ({
        kind: 'dead',
        position,
        token,
        reason: 'refused',
        error: new Error('no'),
        onDead: 'skip',
        maybePublished: false,
      })),
    )
  }
  await store.open()
  await store.unitOfWork((tx) =>
    store.outbox.save(
      tx,
      Array.from({ length: 250 }, (_, n) => message(String(n))),
    ),
  )
  await kill()
  const { deadLetters } = store.admin
  // A relay that gives everything up again, as fast as can be.
  const box: DeadLetterBox = {
    ...deadLetters,
    async retry(keys) {
      const retried = await deadLetters.retry(keys)
      await kill()
      return retried
    },
  }
  expect(await changeLetters('retry', box, { filter: {}, progress: () => {} })).toEqual({
    changed: 250,
    asked: 250,
  })
  expect(await store.admin.stats()).toMatchObject({ dead: 250 })
})
