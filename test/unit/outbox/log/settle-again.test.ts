import { expect, test } from 'vitest'
import { logToken } from '../../../../src/core/commit-log.ts'
import type { Settlement } from '../../../../src/core/outbox.ts'
import { settlingAgain } from '../../../../src/outbox/log/settle-again.ts'
import { manualClock } from '../../../../src/testing/index.ts'

const logged = logToken('019a0000-0000-7000-8000-000000000001')
const sent = (position: bigint, token: string): Settlement => ({ kind: 'sent', position, token })

/** Rows that cannot be settled before they can be seen. */
function storage(seen: Set<bigint>) {
  return {
    seen,
    async settle(settlements: readonly Settlement[]) {
      const changed = settlements.filter(({ position }) => seen.delete(position)).length
      return { stale: settlements.length - changed }
    },
  }
}

function scene(...seen: bigint[]) {
  const clock = manualClock()
  const rows = storage(new Set(seen))
  const told: [settlements: number, stale: number][] = []
  const again = settlingAgain(
    (all) => rows.settle(all),
    clock,
    (...counts) => told.push(counts),
  )
  return { clock, rows, told, again }
}

test('what came before its row could be seen is told of when it has been repeated', async () => {
  const { clock, rows, told, again } = scene(1n)
  const all = [sent(1n, logged), sent(2n, logged), sent(3n, logged)]
  expect(await again.settle(all)).toEqual({ stale: 0, open: 2 })
  rows.seen.add(2n)
  await clock.advance(10)
  expect([rows.seen.size, told]).toEqual([0, []])
  rows.seen.add(3n)
  await clock.advance(30)
  await again.idle()
  expect(told).toEqual([[2, 0]])
})

test('what nobody ever sees counts as too late in the end', async () => {
  const { clock, told, again } = scene()
  expect(await again.settle([sent(1n, logged)])).toEqual({ stale: 0, open: 1 })
  await clock.advance(2000)
  await again.idle()
  expect(told).toEqual([[1, 1]])
})

test('what a claim had is too late at once', async () => {
  const { clock, told, again } = scene()
  expect(await again.settle([sent(1n, 'a claim'), sent(2n, 'a claim')])).toEqual({
    stale: 2,
    open: 0,
  })
  expect([clock.sleeping, told]).toEqual([0, []])
})

test('a relay that halts says what it does not know to be recorded', async () => {
  const { told, again } = scene()
  await again.settle([sent(1n, logged)])
  again.halt()
  await again.idle()
  expect(told).toEqual([[1, 1]])
})
