import assert from 'node:assert/strict'
import type { DestinationOverview, OutboxOverview } from '../../core/operations.ts'
import type { ContractCase } from '../contract.ts'
import {
  claim,
  commit,
  dead,
  keyed,
  labels,
  LONG_MS,
  message,
  type OutboxHarness,
  type OutboxParts,
  PASSED_MS,
  release,
  retry,
  sent,
  SHORT_MS,
} from '../outbox/harness.ts'
import { partOf } from './parts.ts'

const overview = (store: OutboxParts, keys = 0): Promise<OutboxOverview> =>
  partOf(store, 'overview')({ keys })

const AN_HOUR_MS = 3_600_000
/** Ages are whole milliseconds of the clock of the store. */
const ROUNDED_MS = 2

const other = { transport: 'default', kind: 'topic', name: 'other' } as const

const countsOf = ({ pending, due, claimed, dead: given }: DestinationOverview | OutboxOverview) => [
  pending,
  due,
  claimed,
  given,
]

/** Claims everything that is due and settles each row as its label says. */
async function settleAs(
  store: OutboxParts,
  fates: Readonly<Record<string, 'keep' | 'retry' | 'skip' | 'block-key'>>,
): Promise<void> {
  const rows = await claim(store)
  const settlements = rows.flatMap((row) => {
    const fate = fates[labels([row])[0] ?? '']
    if (fate === 'keep') return []
    if (fate === undefined) return [release(row)]
    return [fate === 'retry' ? retry(row, LONG_MS) : dead(row, fate)]
  })
  assert.deepEqual(await store.outbox.settle(settlements), { stale: 0 })
}

/** What the outbox holds, counted for operators. */
export const overviewCases: readonly ContractCase<OutboxHarness>[] = [
  {
    name: 'overview: an empty outbox has nothing, and is not late',
    async run(harness) {
      await using store = await harness.open()
      const found = await overview(store, 10)
      assert.deepEqual(countsOf(found), [0, 0, 0, 0])
      assert.deepEqual([found.oldestDueMs, found.oldestMs, found.kept], [0, 0, 0])
      assert.deepEqual([found.destinations, found.keys], [[], []])
    },
  },
  {
    name: 'overview: it counts what is due, held, refused and dead, as a whole and by destination',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        message('held'),
        message('refused'),
        message('gone', { to: other }),
        ...keyed('k', 'blocking', 'behind'),
        message('free', { to: other }),
        message('later', { delayMs: LONG_MS }),
      ])
      await settleAs(store, {
        held: 'keep',
        refused: 'retry',
        gone: 'skip',
        blocking: 'block-key',
      })
      const found = await overview(store)
      assert.deepEqual(countsOf(found), [5, 2, 1, 2])
      assert.deepEqual(
        found.destinations.map((row) => [row.destination, ...countsOf(row)]),
        [
          ['default/queue/contract', 4, 1, 1, 1],
          ['default/topic/other', 1, 1, 0, 1],
        ],
      )
      if (found.refused !== undefined) {
        assert.equal(found.refused, 1)
        assert.deepEqual(
          found.destinations.map(({ refused }) => refused),
          [1, 0],
        )
      }
    },
  },
  {
    name: 'overview: ages are those of the oldest open message, since it was added and since it has been due',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [message('delayed', { delayMs: AN_HOUR_MS })])
      await harness.elapse(PASSED_MS)
      await commit(store, [message('younger', { to: other, delayMs: SHORT_MS })])
      await harness.elapse(SHORT_MS + PASSED_MS)
      const { oldestMs, oldestDueMs, destinations } = await overview(store)
      const [delayed, younger] = destinations
      assert.ok(delayed !== undefined && younger !== undefined)
      // However slow the machine is: both were looked at in the same moment.
      assert.ok(delayed.oldestMs - younger.oldestMs >= PASSED_MS - ROUNDED_MS)
      assert.ok(younger.oldestMs - younger.oldestDueMs >= SHORT_MS - ROUNDED_MS)
      assert.ok(younger.oldestDueMs >= PASSED_MS - ROUNDED_MS)
      assert.equal(delayed.oldestDueMs, 0)
      assert.ok(oldestMs - oldestDueMs >= PASSED_MS + SHORT_MS - ROUNDED_MS)
      assert.ok(oldestDueMs >= PASSED_MS - ROUNDED_MS)
    },
  },
  {
    name: 'overview: a message that is paused or behind another one of its key waits for no relay',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, [
        ...keyed('k', 'first', 'behind'),
        ...keyed('paused', 'p'),
        message('elsewhere', { to: other }),
      ])
      await settleAs(store, { first: 'keep' })
      const pauses = partOf(store, 'pauses')
      await pauses.pause({ kind: 'key', name: 'paused' }, '')
      await pauses.pause({ kind: 'destination', name: 'default/topic/other' }, '')
      await harness.elapse(PASSED_MS)
      const stuck = await overview(store)
      if (stuck.waitingMs === undefined) return // this store does not tell
      assert.deepEqual([stuck.due, stuck.waitingMs], [3, 0])
      assert.ok(stuck.oldestDueMs >= PASSED_MS)
      await pauses.resume({ kind: 'destination', name: 'default/topic/other' })
      const { waitingMs = 0, destinations } = await overview(store)
      assert.ok(waitingMs >= PASSED_MS, `waitingMs is ${waitingMs}`)
      assert.deepEqual(
        destinations.map((row) => (row.waitingMs ?? 0) >= PASSED_MS),
        [false, true],
      )
    },
  },
  {
    name: 'overview: blocked keys come first, then those that have waited longest; at most as many as asked for',
    async run(harness) {
      await using store = await harness.open()
      await commit(store, keyed('oldest', '1', '2'))
      await harness.elapse(PASSED_MS)
      await commit(store, [...keyed('blocked', 'bad', 'rest'), message('keyless')])
      await harness.elapse(PASSED_MS)
      await commit(store, keyed('youngest', '3'))
      await settleAs(store, { bad: 'block-key' })
      const { keys } = await overview(store, 10)
      assert.deepEqual(
        keys.map(({ key, pending, blocked }) => [key, pending, blocked]),
        [
          ['blocked', 1, true],
          ['oldest', 2, false],
          ['youngest', 1, false],
        ],
      )
      const [blocked, oldest] = keys
      assert.ok((oldest?.oldestMs ?? 0) >= 2 * PASSED_MS && (blocked?.oldestMs ?? 0) >= PASSED_MS)
      assert.deepEqual(
        (await overview(store, 2)).keys.map(({ key }) => key),
        ['blocked', 'oldest'],
      )
      assert.deepEqual((await overview(store, 0)).keys, [])
    },
  },
  {
    name: 'overview: the number of messages that were ever added grows with each, whatever became of them',
    async run(harness) {
      await using store = await harness.open()
      const before = (await overview(store)).added
      if (before === undefined) return // this store does not tell
      await commit(store, [message('1'), message('2')])
      await store.outbox.settle((await claim(store)).map(sent))
      await commit(store, keyed('k', '3'))
      assert.equal((await overview(store)).added, before + 3)
    },
  },
]
