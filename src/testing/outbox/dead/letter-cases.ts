import assert from 'node:assert/strict'
import { destinationKey } from '../../../core/messages/message.ts'
import type { ContractCase } from '../../contract.ts'
import {
  claim,
  commit,
  dead,
  destination,
  keyed,
  labels,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  PASSED_MS,
  retry,
  sent,
} from '../harness.ts'

/**
 * Claims everything that is due and gives up the row with this label; the others are given back.
 */
async function giveUp(
  store: OutboxParts,
  label: string,
  onDead: 'skip' | 'block-key',
): Promise<void> {
  const rows = await claim(store)
  const settlements = rows.map((row) =>
    labels([row])[0] === label
      ? dead(row, onDead)
      : ({ kind: 'release', position: row.position, token: row.token } as const),
  )
  assert.deepEqual(await store.outbox.settle(settlements), { stale: 0 })
}

/**
 * Messages that were given up: nothing of them is lost, and their key waits or goes on as asked.
 */
export const deadLetterCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'a dead letter keeps the bytes, the headers, the reason and the attempts of its message',
    async run(harness) {
      await using store = await harness.open()
      const body = Uint8Array.from({ length: 256 }, (_, index) => index)
      const headers = { 'content-type': 'application/octet-stream', name: 'Zoë Ångström 日本語 🐪' }
      const given = message('poison', { body, headers, partitionKey: 'k' })
      await commit(store, [given])
      await store.outbox.settle([retry(only(await claim(store)), 0)])
      await store.outbox.settle([dead(only(await claim(store)), 'skip', true)])
      const letter = only(await store.admin.deadLetters.list())
      assert.deepEqual(new Uint8Array(letter.body), body)
      assert.deepEqual({ ...letter.headers }, headers)
      assert.deepEqual([letter.id, letter.type, letter.partitionKey], [given.id, given.type, 'k'])
      assert.deepEqual(
        [letter.direction, letter.place, letter.reason],
        ['outgoing', destinationKey(destination), 'refused'],
      )
      assert.deepEqual([letter.attempts, letter.maybePublished, letter.blocksKey], [2, true, false])
      assert.match(letter.error, /given up/)
      assert.ok(Number.isFinite(letter.diedAt) && letter.diedAt > 0)
      assert.notEqual(letter.key, '')
    },
  },
  {
    name: 'with skip the row leaves the outbox and its key goes on',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, keyed('k', '1', '2'))
      await giveUp(store, '1', 'skip')
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.dead], [1, 1])
      assert.deepEqual(labels(await claim(store)), ['2'])
    },
  },
  {
    name: 'with block-key the later rows of its key wait until it is retried, which keeps the order',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [...keyed('k', '1', '2'), message('free')])
      await giveUp(store, '1', 'block-key')
      await commit(store, keyed('k', '3'))
      const letter = only(await store.admin.deadLetters.list())
      assert.equal(letter.blocksKey, true)
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.dead], [3, 1])
      assert.deepEqual(labels(await claim(store)), ['free'])
      assert.equal(await store.admin.deadLetters.retry([letter.key]), 1)
      const rows = await claim(store)
      assert.deepEqual(labels(rows), ['1', '2', '3'])
      assert.equal(rows[0]?.attempt, 1)
      assert.deepEqual(await store.admin.deadLetters.list(), [])
    },
  },
  {
    name: 'with block-key the later rows of its key go on once it is discarded',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, keyed('k', '1', '2'))
      await giveUp(store, '1', 'block-key')
      assert.deepEqual(await claim(store), [])
      const letter = only(await store.admin.deadLetters.list())
      assert.equal(await store.admin.deadLetters.discard([letter.key]), 1)
      assert.deepEqual(labels(await claim(store)), ['2'])
      const stats = await store.admin.stats()
      assert.deepEqual([stats.pending, stats.dead], [1, 0])
    },
  },
  {
    name: 'a message without a key that was given up blocks nothing, whatever was asked',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1'), message('2')])
      await giveUp(store, '1', 'block-key')
      assert.equal(only(await store.admin.deadLetters.list()).blocksKey, false)
      assert.deepEqual(labels(await claim(store)), ['2'])
    },
  },
  {
    name: 'a retried dead letter is sent with the same id and bytes, due at once, with no attempts used, after what its key holds by then',
    async run(harness) {
      await using store = await harness.open()
      const given = message('1', {
        partitionKey: 'k',
        headers: { note: 'ключ' },
        body: new Uint8Array([0, 255, 10, 13]),
      })
      await commit(store, [given])
      await store.outbox.settle([retry(only(await claim(store)), 0)])
      await giveUp(store, '1', 'skip')
      await commit(store, keyed('k', '2'))
      const letter = only(await store.admin.deadLetters.list())
      assert.equal(await store.admin.deadLetters.retry([letter.key]), 1)
      assert.deepEqual(await store.admin.deadLetters.list(), [])
      assert.equal((await store.admin.stats()).dead, 0)
      const rows = await claim(store)
      assert.deepEqual(labels(rows), ['2', '1'])
      const row = rows[1]
      assert.ok(row !== undefined)
      assert.deepEqual([row.attempt, row.message.id, row.message.partitionKey], [1, given.id, 'k'])
      assert.deepEqual(new Uint8Array(row.message.body), given.body)
      assert.deepEqual({ ...row.message.headers }, given.headers)
      assert.deepEqual(row.message.to, given.to)
      assert.deepEqual(await store.outbox.settle(rows.map(sent)), { stale: 0 })
    },
  },
  {
    name: 'dead letters are listed in pages, oldest first, both kinds together',
    async run(harness) {
      await using store = await harness.open()
      const names = ['1', '2', '3', '4', '5']
      await commit(store, [
        message('1'),
        ...keyed('k', '2'),
        message('3'),
        ...keyed('l', '4'),
        message('5'),
      ])
      for (const name of names) await giveUp(store, name, 'block-key')
      const seen: string[] = []
      let after: string | undefined
      for (let page = 0; page < 4; page++) {
        const letters = await store.admin.deadLetters.list({
          limit: 2,
          ...(after === undefined ? {} : { after }),
        })
        assert.equal(letters.length, [2, 2, 1, 0][page])
        seen.push(...letters.map(({ type }) => type.replace('contract.', '')))
        after = letters.at(-1)?.key
        if (after === undefined) break
      }
      assert.deepEqual(seen, names)
    },
  },
  {
    name: 'retry and discard touch only what they name, and tell how many there were',
    async run(harness) {
      await using store = await harness.open()
      const { deadLetters } = store.admin
      await commit(store, [message('1'), message('2'), message('3')])
      await store.outbox.settle((await claim(store)).map((row) => dead(row, 'skip')))
      const [first, second, third] = await deadLetters.list()
      assert.ok(first !== undefined && second !== undefined && third !== undefined)
      assert.equal(await deadLetters.retry([first.key]), 1)
      assert.equal(await deadLetters.discard([third.key]), 1)
      assert.deepEqual(
        [await deadLetters.retry([first.key, third.key]), await deadLetters.discard([third.key])],
        [0, 0],
      )
      assert.deepEqual([await deadLetters.retry([]), await deadLetters.discard([])], [0, 0])
      assert.deepEqual(
        [await deadLetters.retry(['no such key']), await deadLetters.discard(['no such key'])],
        [0, 0],
      )
      assert.deepEqual(
        (await deadLetters.list()).map(({ id }) => id),
        [second.id],
      )
      assert.deepEqual(labels(await claim(store)), ['1'])
    },
  },
  {
    name: 'a text that can be no key of a dead letter names none, and nothing comes after it',
    async run(harness) {
      await using store = await harness.open()
      const { deadLetters } = store.admin
      await commit(store, [message('1'), ...keyed('k', '2')])
      for (const label of ['1', '2']) await giveUp(store, label, 'block-key')
      const [{ key } = { key: '' }] = await deadLetters.list()
      const strange = ['', '-1', '1e0', ' 1', '01', '0x1', '1.', '.1', '1.5.2', '9'.repeat(40), '١']
      const texts = [...strange, ` ${key}`, `${key} `, `+${key}`, `${key}'`, `${key},${key}`]
      assert.equal(await deadLetters.retry(texts), 0)
      assert.equal(await deadLetters.discard(texts), 0)
      for (const after of texts.slice(0, 1)) assert.deepEqual(await deadLetters.list({ after }), [])
      assert.equal((await deadLetters.list()).length, 2)
    },
  },
  {
    name: 'a key that comes twice names one dead letter, and a page goes on after one that is gone',
    async run(harness) {
      await using store = await harness.open()
      const { deadLetters } = store.admin
      await commit(store, [message('1'), message('2'), message('3'), message('4')])
      await store.outbox.settle((await claim(store)).map((row) => dead(row, 'skip')))
      const [first, second, third, fourth] = await deadLetters.list()
      assert.ok(first && second && third && fourth)
      assert.equal(await deadLetters.discard([second.key, second.key]), 1)
      assert.equal(await deadLetters.retry([third.key, third.key]), 1)
      assert.deepEqual(labels(await claim(store)), ['3'])
      for (const after of [second.key, third.key, first.key]) {
        const rest = await deadLetters.list({ after })
        assert.deepEqual(
          rest.map(({ key }) => key),
          [fourth.key],
        )
      }
    },
  },
  {
    name: 'a list has a limit from 1 to 1000',
    async run(harness) {
      await using store = await harness.open()
      const { deadLetters } = store.admin
      for (const limit of [0, -1, 1001, Number.NaN]) {
        await assert.rejects(deadLetters.list({ limit }), { code: 'MERSAL_INVALID_OPTIONS' })
      }
      assert.deepEqual(await deadLetters.list({ limit: 1000 }), [])
    },
  },
  {
    name: 'a dead letter that was retried is as old as its message, for whoever looks at the oldest one',
    async run(harness) {
      await using store = await harness.open()
      const overview = store.operations?.overview
      if (overview === undefined) return // this store tells no ages
      await commit(store, [message('free'), ...keyed('k', 'blocking')])
      for (const label of ['free', 'blocking']) await giveUp(store, label, 'block-key')
      await harness.elapse(PASSED_MS)
      for (const { key } of await store.admin.deadLetters.list()) {
        assert.equal(await store.admin.deadLetters.retry([key]), 1)
        const { oldestMs } = await overview({ keys: 0 })
        assert.ok(
          oldestMs >= PASSED_MS,
          `the message is at least ${PASSED_MS} ms old, not ${oldestMs}`,
        )
        await store.outbox.settle((await claim(store)).map(sent))
      }
    },
  },
  {
    name: 'two operators who retry the same dead letter put it back once',
    async run(harness) {
      await using store = await harness.open()
      await using other = await harness.open()
      await commit(store, [...keyed('k', '1'), message('2')])
      await store.outbox.settle((await claim(store)).map((row) => dead(row, 'skip')))
      const keys = (await store.admin.deadLetters.list()).map(({ key }) => key)
      const counts = await Promise.all([
        store.admin.deadLetters.retry(keys),
        other.admin.deadLetters.retry(keys),
      ])
      assert.equal(counts[0] + counts[1], 2)
      assert.deepEqual(labels(await claim(store)).toSorted(), ['1', '2'])
    },
  },
]
