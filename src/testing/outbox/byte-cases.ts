import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { ClaimedMessage, OnDead, Settlement } from '../../core/outbox.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  keyed,
  labels,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  release,
  sent,
} from './harness.ts'

const MiB = 1024 * 1024

/** Random bytes, which a database cannot compress. */
function large(label: string, size: number, extra: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return message(label, { body: new Uint8Array(randomBytes(size)), ...extra })
}

const bytesOf = (rows: readonly ClaimedMessage[]): number =>
  rows.reduce((sum, row) => sum + row.message.body.byteLength, 0)

function tooLarge({ position, token }: ClaimedMessage, onDead: OnDead): Settlement {
  return {
    kind: 'dead',
    position,
    token,
    reason: 'too-large',
    error: new Error('too large'),
    onDead,
    maybePublished: false,
  }
}

/**
 * A small row, one that the claim does not read with a later one of its key, and a small row behind
 * them.
 */
async function aroundOne(store: OutboxParts, key: string | undefined): Promise<OutgoingMessage> {
  const given = large('huge', 5000, key === undefined ? {} : { partitionKey: key })
  await commit(store, [
    message('before'),
    given,
    ...(key === undefined ? [] : keyed(key, 'later')),
    message('after'),
  ])
  return given
}

/**
 * The bound of a claim that names none, in MiB; another one than 32 only where 32 MiB take too
 * long, and the store was told.
 */
export function unnamedBound(bound: number): ContractCase<OutboxHarness> {
  return {
    name: `a claim that names no bound has at most ${bound} MiB and one row more`,
    async run(harness) {
      await using store = await harness.open()
      const size = Math.ceil((bound * MiB * 5) / 32)
      for (let index = 0; index < 10; index++) await commit(store, [large(String(index), size)])
      const first = await claim(store)
      assert.ok(bytesOf(first) <= bound * MiB + size, `${bytesOf(first)} bytes`)
      const second = await claim(store)
      assert.equal(first.length + second.length, 10)
    },
  }
}

/** A claim is bounded in bytes, and what is too large to be read is given up without reading it. */
export const byteCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'a claim has at most as many bytes as asked for and one row more, at least one row, and the rest stays for the next',
    async run(harness) {
      await using store = await harness.open()
      const names = Array.from({ length: 12 }, (_, index) => String(index))
      await commit(
        store,
        names.map((name) =>
          large(name, 100_000, Number(name) % 3 === 0 ? { partitionKey: 'k' } : {}),
        ),
      )
      assert.equal((await claim(store, { maxBytes: 1 })).length, 1)
      const seen = [1]
      while ((seen.at(-1) ?? 0) > 0) {
        const rows = await claim(store, { maxBytes: 250_000 })
        assert.ok(bytesOf(rows) <= 350_000, `${bytesOf(rows)} bytes`)
        await store.outbox.settle(rows.map(sent))
        seen.push(rows.length)
      }
      // Later ones of the key of the first row, which is still in hand.
      assert.equal(
        seen.reduce((sum, count) => sum + count),
        9,
      )
    },
  },
  unnamedBound(32),
  {
    name: 'headers count as bytes of a claim as well',
    async run(harness) {
      await using store = await harness.open()
      const headers = { note: 'n'.repeat(40_000) }
      await commit(store, [
        message('1', { headers }),
        message('2', { headers }),
        message('3', { headers }),
      ])
      assert.deepEqual(labels(await claim(store, { maxBytes: 50_000 })), ['1', '2'])
      assert.deepEqual(labels(await claim(store, { maxBytes: 50_000 })), ['3'])
    },
  },
  {
    name: 'a row with more bytes than the claim reads comes in its place without its content',
    async run(harness) {
      await using store = await harness.open()
      const given = await aroundOne(store, 'k')
      const rows = await claim(store, { largestBytes: 4000, maxBytes: 4000 })
      assert.deepEqual(labels(rows), ['before', 'huge', 'later', 'after'])
      const [before, huge] = rows
      assert.equal(before?.withheldBytes, undefined)
      assert.ok(huge !== undefined && (huge.withheldBytes ?? 0) >= 5000)
      assert.deepEqual([huge.message.body.byteLength, huge.message.headers], [0, {}])
      assert.deepEqual(
        [huge.message.id, huge.message.partitionKey, huge.message.to],
        [given.id, 'k', given.to],
      )
      await store.outbox.settle(rows.map((row) => release(row)))
      const whole = (await claim(store)).find((row) => row.message.id === given.id)
      assert.equal(whole?.withheldBytes, undefined)
      assert.deepEqual(new Uint8Array(whole?.message.body ?? []), given.body)
    },
  },
  {
    name: 'large headers make a row too large as well as a large body',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('1', { headers: { note: 'n'.repeat(5000) } }), message('2')])
      const [first, second] = await claim(store, { largestBytes: 4000 })
      assert.ok((first?.withheldBytes ?? 0) >= 5000)
      assert.deepEqual(first?.message.headers, {})
      assert.equal(second?.withheldBytes, undefined)
    },
  },
  ...([undefined, 'k'] as const).flatMap((key) =>
    (['skip', 'block-key'] as const).map((onDead): ContractCase<OutboxHarness> => {
      const blocks = key !== undefined && onDead === 'block-key'
      const whose = key === undefined ? 'a row without a key' : `a row with a key, under ${onDead},`
      return {
        name: `${whose} that was given up unread is a dead letter with its bytes${key === undefined ? `, under ${onDead}` : ''}`,
        async run(harness) {
          await using store = await harness.open()
          const given = await aroundOne(store, key)
          const rows = await claim(store, { largestBytes: 4000 })
          await store.outbox.settle(
            rows.map((row) =>
              row.withheldBytes === undefined ? release(row) : tooLarge(row, onDead),
            ),
          )
          const rest = await claim(store)
          assert.deepEqual(labels(rest), [
            'before',
            ...(key === undefined || blocks ? [] : ['later']),
            'after',
          ])
          const letter = only(await store.admin.deadLetters.list())
          assert.deepEqual(
            [letter.id, letter.partitionKey, letter.reason, letter.blocksKey],
            [given.id, key, 'too-large', blocks],
          )
          assert.deepEqual(new Uint8Array(letter.body), given.body)
          await store.outbox.settle(rest.map(sent))
          assert.equal(await store.admin.deadLetters.retry([letter.key]), 1)
          const back = await claim(store)
          assert.deepEqual(labels(back), blocks ? ['huge', 'later'] : ['huge'])
          assert.deepEqual(new Uint8Array(back[0]?.message.body ?? []), given.body)
        },
      }
    }),
  ),
]
