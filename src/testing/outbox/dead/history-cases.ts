import assert from 'node:assert/strict'
import { MersalError } from '../../../core/errors/errors.ts'
import type { DeadLetter } from '../../../core/dead-letter.ts'
import type { Settlement } from '../../../core/outbox.ts'
import type { ContractCase } from '../../contract.ts'
import {
  claim,
  commit,
  dead,
  LONG_MS,
  message,
  only,
  type OutboxHarness,
  type OutboxParts,
  release,
  retry,
} from '../harness.ts'

const lettersOf = (store: OutboxParts): Promise<readonly DeadLetter[]> =>
  store.admin.deadLetters.list()

/** What the only open row is settled with. */
async function settle(store: OutboxParts, how: 'retry' | 'dead', error: Error): Promise<void> {
  const row = only(await claim(store))
  const settlement = how === 'retry' ? retry(row, 0) : dead(row, 'skip')
  assert.deepEqual(await store.outbox.settle([{ ...settlement, error } as Settlement]), {
    stale: 0,
  })
}

const numbersIn = ({ history }: DeadLetter): readonly number[] =>
  history.map(({ attempt }) => attempt)

/** What is known of each attempt of a message that was given up. */
export const historyCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'a dead letter knows of each attempt its number, its time, its code and its causes, without secrets',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('poison')])
      const cause = new Error('no route to amqp://user:hunter2@broker')
      await settle(store, 'retry', new Error('refused', { cause }))
      await settle(store, 'dead', new MersalError('MERSAL_REFUSED', 'a policy forbids it'))
      const { history, attempts, diedAt } = only(await lettersOf(store))
      const [first, second] = history
      assert.ok(first !== undefined && second !== undefined)
      assert.deepEqual([history.length, attempts], [2, 2])
      assert.deepEqual([first.attempt, first.code, second.attempt], [1, 'none', 2])
      assert.equal(second.code, 'MERSAL_REFUSED')
      assert.match(first.error, /refused; caused by Error: no route/)
      assert.ok(!first.error.includes('hunter2'), 'the history tells a secret')
      assert.match(second.error, /a policy forbids it/)
      assert.ok(Number.isSafeInteger(first.at) && first.at > 0 && first.at <= second.at)
      assert.ok(Math.abs(second.at - diedAt) <= 1000, 'the last attempt is not when it died')
    },
  },
  {
    name: 'what was given back is no attempt, and a former owner adds none',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('poison')])
      await settle(store, 'retry', new Error('first'))
      const row = only(await claim(store))
      const aside = { ...release(row), error: new Error('the destination is away') }
      await store.outbox.settle([aside])
      const late = { ...retry(row, 0), error: new Error('too late') } as Settlement
      assert.deepEqual(await store.outbox.settle([late]), { stale: 1 })
      await settle(store, 'dead', new Error('second'))
      const { history } = only(await lettersOf(store))
      assert.deepEqual(
        history.map(({ attempt, error }) => [attempt, error]),
        [
          [1, 'Error: first'],
          [2, 'Error: second'],
        ],
      )
    },
  },
  {
    name: 'of many attempts the first one and the newest are known, and they have a bound',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('poison')])
      const long = (n: number): Error => new Error(`${n} ${'日本\u0001"'.repeat(2000)}`)
      for (let n = 1; n <= 13; n++) await settle(store, 'retry', long(n))
      await settle(store, 'dead', long(14))
      const letter = only(await lettersOf(store))
      assert.deepEqual(numbersIn(letter), [1, 6, 7, 8, 9, 10, 11, 12, 13, 14])
      for (const { attempt, error } of letter.history)
        assert.ok(
          error.startsWith(`Error: ${attempt} 日本`),
          'another error than that of its attempt',
        )
      const bytes = Buffer.byteLength(JSON.stringify(letter.history))
      assert.ok(bytes <= 8192, `the history has ${bytes} bytes`)
    },
  },
  {
    name: 'the attempts of several messages that fail at once are not mixed up',
    async run(harness) {
      await using store = await harness.open()
      const given = ['1', '2', '3'].map((label) => message(label))
      await commit(store, given)
      const failing =
        (n: number) =>
        async (kind: 'retry' | 'dead'): Promise<void> => {
          const rows = await claim(store)
          const settlements = rows.map((row) => ({
            ...(kind === 'retry' ? retry(row, 0) : dead(row, 'skip')),
            error: new Error(`${row.message.id}, ${n}`),
          }))
          await store.outbox.settle(settlements)
        }
      await failing(1)('retry')
      await failing(2)('dead')
      const letters = await lettersOf(store)
      assert.equal(letters.length, 3)
      for (const { id, history } of letters)
        assert.deepEqual(
          history.map(({ error }) => error),
          [`Error: ${id}, 1`, `Error: ${id}, 2`],
        )
    },
  },
  {
    name: 'a dead letter that is retried begins a new history, whether it held back its key or not',
    async run(harness) {
      await using store = await harness.open()
      for (const onDead of ['skip', 'block-key'] as const) {
        await commit(store, [message('poison', { partitionKey: onDead })])
        await store.outbox.settle([retry(only(await claim(store)), 0)])
        await store.outbox.settle([dead(only(await claim(store)), onDead)])
        const before = only(await lettersOf(store))
        assert.deepEqual(numbersIn(before), [1, 2])
        assert.equal(await store.admin.deadLetters.retry([before.key]), 1)
        await store.outbox.settle([dead(only(await claim(store)), onDead)])
        const after = only(await lettersOf(store))
        assert.deepEqual([numbersIn(after), after.attempts], [[1], 1])
        assert.equal(await store.admin.deadLetters.discard([after.key]), 1)
      }
      assert.deepEqual(await claim(store, { claimMs: LONG_MS }), [])
    },
  },
]
