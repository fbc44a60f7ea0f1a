import { expect, test } from 'vitest'
import type { ClaimedMessage } from '../../../../src/core/outbox.ts'
import { Dispatch, type DispatchPorts } from '../../../../src/outbox/claim/dispatch.ts'
import { createInHand, type InHand } from '../../../../src/outbox/claim/in-hand.ts'
import { ownCapacity } from '../../../../src/outbox/limits/capacity.ts'
import { createSlowDestinations } from '../../../../src/outbox/limits/slow-destinations.ts'
import { createSlowMode } from '../../../../src/outbox/limits/slow-mode.ts'
import { relaySettings } from '../../../../src/outbox/options.ts'
import type { Terms } from '../../../../src/outbox/publish/batch.ts'
import type { Entry } from '../../../../src/outbox/settle/entry.ts'
import { manualClock } from '../../../../src/testing/manual-clock.ts'
import { ids, type LogLine, message, recorder } from '../support.ts'

const settings = relaySettings({ maxAttempts: 3 })
const terms: Terms = { startedAt: 0, publishUntil: 12_000, keepUntil: 15_000, express: false }

interface Scene {
  readonly dispatch: Dispatch
  readonly inHand: InHand
  readonly log: LogLine[]
  readonly lost: Entry[]
}

/** A dispatch whose publisher throws. */
function failing(settler: Partial<DispatchPorts['settler']> = {}): Scene {
  const log: LogLine[] = []
  const lost: Entry[] = []
  const inHand = createInHand({
    clock: manualClock(),
    settings,
    capacity: ownCapacity(settings.window),
    slow: createSlowDestinations(250),
  })
  const dispatch = new Dispatch({
    environment: { app: 'test', logger: recorder(log) },
    settings,
    inHand,
    publisher: {
      take() {
        throw new Error('a bug of ours')
      },
    },
    settler: { halted: false, add: () => {}, confirmed: () => false, ...settler },
    slowMode: createSlowMode(() => {}),
    reports: { dead: () => {} },
    onSuspect: () => {},
    onLost(entries) {
      lost.push(...entries)
      inHand.letGo(entries.map(({ row }) => row))
    },
  })
  return { dispatch, inHand, log, lost }
}

const rows: readonly ClaimedMessage[] = ids(3).map((id, index) => ({
  message: message(id),
  position: BigInt(index),
  attempt: 1,
  token: 't',
}))

test('a publisher that throws leaves nothing in hand, and is not taken for a claim that failed', () => {
  const { dispatch, inHand, log, lost } = failing()
  dispatch.claimed(rows, terms)
  expect(inHand.rows).toBe(0)
  expect(lost.map(({ row, keepUntil }) => [row.position, keepUntil])).toEqual(
    rows.map(({ position }) => [position, 15_000]),
  )
  expect(log.map(({ level, message: text }) => `${level}: ${text}`)).toEqual([
    'error: handing claimed messages over failed; they fall due again when their claim ends',
  ])
})

test('a publisher that throws does not reach the unit that used the express lane', () => {
  const { dispatch, inHand, lost } = failing()
  dispatch.publish(rows, { ...terms, express: true })
  expect([inHand.rows, lost.length]).toEqual([0, 3])
})

test('P11: a claim that is answered after the relay has stopped leaves nothing in hand', () => {
  const { dispatch, inHand } = failing({ halted: true, confirmed: (position) => position === 1n })
  const open = dispatch.unconfirmed(rows, terms)
  dispatch.claimed(open, terms)
  const killer = rows.slice(0, 1).map((row) => ({ ...row, attempt: 100 }))
  dispatch.claimed(killer, terms)
  expect([open.length, inHand.rows]).toEqual([2, 0])
})
