import { expect, test } from 'vitest'
import type { Settlement } from '../../../../src/core/outbox.ts'
import type { Entry } from '../../../../src/outbox/settle/entry.ts'
import { createSettler, type Settler } from '../../../../src/outbox/settle/settler.ts'
import { type ManualClock, manualClock } from '../../../../src/testing/manual-clock.ts'
import { calm, type LogLine, message, pass, recorder } from '../support.ts'

interface Scene {
  readonly settler: Settler
  readonly clock: ManualClock
  readonly recorded: Settlement[]
}

/** A settler on a storage that may fail, or find claims that were lost. */
function onStorage(
  settling: (settlements: readonly Settlement[]) => Promise<number | void>,
): Scene {
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
        const stale = (await settling(settlements)) ?? 0
        recorded.push(...settlements)
        return { stale }
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

test('P7: of a dead letter that somebody else has recorded nothing is told', async () => {
  const told: bigint[] = []
  const settling = async (settlements: readonly Settlement[]): Promise<number> =>
    settlements.filter(({ position }) => position === 1n).length
  const { settler, clock, recorded } = onStorage(settling)
  for (const position of [1n, 2n]) {
    settler.add({ ...entry(position, 'sent'), done: () => void told.push(position) })
    await pass(clock, () => recorded.length === Number(position), 1000, 'the settlement')
  }
  expect(told).toEqual([2n])
})
