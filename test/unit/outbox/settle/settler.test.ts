import { expect, test } from 'vitest'
import type { Settlement } from '../../../../src/core/outbox.ts'
import { createSettler, type Entry, type Settler } from '../../../../src/outbox/settle/settler.ts'
import { type ManualClock, manualClock } from '../../../../src/testing/manual-clock.ts'
import { calm, type LogLine, message, pass, recorder } from '../support.ts'

interface Scene {
  readonly settler: Settler
  readonly clock: ManualClock
  readonly recorded: Settlement[]
}

/** A settler on a storage that fails when `fails` says so. */
function onStorage(settling: (settlements: readonly Settlement[]) => Promise<void>): Scene {
  const log: LogLine[] = []
  const clock = manualClock()
  const recorded: Settlement[] = []
  const settler = createSettler({
    environment: {
      app: 'test',
      clock,
      random: () => 0.5,
      logger: recorder(log),
      newToken: () => 't',
    },
    storage: {
      async settle(settlements) {
        await settling(settlements)
        recorded.push(...settlements)
        return { stale: 0 }
      },
    },
    onGone: () => {},
  })
  return { settler, clock, recorded }
}

function entry(position: bigint, kind: 'sent' | 'retry'): Entry {
  const error = new Error('not now')
  const settlement: Settlement =
    kind === 'sent'
      ? { kind, position, token: 't' }
      : { kind, position, token: 't', delayMs: 10, error }
  const row = { message: message(`m${position}`), position, token: 't', attempt: 1 }
  return { row, settlement, keepUntil: 15_000, unblocks: false }
}

test('what failed alone is tried again while there is always something new to settle', async () => {
  let next = 1n
  const { settler, clock, recorded } = onStorage(async (settlements) => {
    await clock.sleep(5)
    settler.add(entry(next++, 'sent')) // the next confirm is there before this call ends
    if (clock.monotonic() < 300 && settlements.some(({ kind }) => kind === 'retry'))
      throw new Error('deadlock detected')
  })
  settler.add(entry(0n, 'retry'))
  const isRecorded = (): boolean => recorded.some(({ kind }) => kind === 'retry')
  await pass(clock, isRecorded, 5000, 'the retry')
  settler.halt()
  await clock.advance(10)
})

test('P11: no timer is left when it is given up while something is tried again', async () => {
  let calling = false
  const { settler, clock } = onStorage(async () => {
    calling = true
    await clock.sleep(50)
    calling = false
    throw new Error('deadlock detected')
  })
  settler.add(entry(0n, 'retry'))
  await pass(clock, () => calling && clock.monotonic() > 1000, 5000, 'a call')
  settler.halt()
  await clock.advance(60)
  await calm()
  expect(clock.sleeping).toBe(0)
})
