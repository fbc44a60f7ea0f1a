import { expect, test } from 'vitest'
import type { LawfulWaits } from '../../../../src/core/storage-clock.ts'
import { memoryStore } from '../../../../src/stores/memory.ts'
import { manualClock } from '../../../../src/testing/manual-clock.ts'
import { calm, message, pass, relays, type Setup } from '../support.ts'

const HOUR_MS = 3_600_000
const { start } = relays()

/** A storage whose clock a test sets, and which answers as slowly as it says. */
interface Foreign {
  /** Of the storage, against the clock of the test. */
  setBy: number
  slowMs: number
  ahead: number
  /** Rows that the next calls of `recover` change. */
  late: number[]
  failing: boolean
  readonly asked: LawfulWaits[]
  looks: number
}

function foreign(): { state: Foreign; made: Setup } {
  const clock = manualClock()
  const store = memoryStore({ clock, pause: () => Promise.resolve() })
  const state: Foreign = {
    setBy: 0,
    slowMs: 0,
    ahead: 0,
    late: [],
    failing: false,
    asked: [],
    looks: 0,
  }
  const storage = {
    ...store.outbox,
    clock: {
      read: async () => {
        state.looks++
        if (state.failing) throw new Error('away')
        const now = clock.now() + state.setBy
        if (state.slowMs > 0) await clock.sleep(state.slowMs)
        return { now, ahead: state.ahead }
      },
      recover: (limits: LawfulWaits) => {
        state.asked.push(limits)
        return Promise.resolve(state.late.shift() ?? 0)
      },
    },
  }
  const made = start({}, { clock, storage, wakers: store.wakers })
  return { state, made: { ...made, clock, store } }
}

const warnings = ({ log }: Setup): string[] =>
  log.filter(({ level }) => level === 'warn').map(({ message }) => message)

test('a clock of the storage that is set back is told once with its size, and what waits unlawfully long is put right', async () => {
  const { state, made } = foreign()
  await pass(made.clock, () => state.looks >= 2, 6000, 'two looks')
  state.setBy = -HOUR_MS
  state.late = [40]
  await pass(made.clock, () => state.asked.length > 0, 6000, 'the look that shows it')
  const [limits] = state.asked
  expect(limits?.backMs).toBeCloseTo(HOUR_MS, -1)
  expect(limits).toMatchObject({ claimMs: 15_000, retryMs: 300_000 })
  await pass(
    made.clock,
    () => state.asked.length === 2,
    6000,
    'once more, for rows that were passed over',
  )
  await pass(made.clock, () => state.looks >= 8, 30_000, 'more looks')
  expect(state.asked).toHaveLength(2)
  expect(warnings(made)).toEqual([
    'the clock of the outbox storage was set back; messages that would wait for it to catch up are put right',
  ])
  expect(made.log.find(({ level }) => level === 'warn')?.fields['backMs']).toBe(HOUR_MS)
})

test('answers that take ten seconds, and steps of two seconds, prove no jump', async () => {
  const { state, made } = foreign()
  await pass(made.clock, () => state.looks >= 1, 6000, 'a first look')
  state.slowMs = 10_000
  await pass(made.clock, () => state.looks >= 3, 60_000, 'slow looks')
  state.slowMs = 0
  await pass(made.clock, () => state.looks >= 5, 60_000, 'quick looks')
  for (const by of [-1900, 0, 1900]) {
    const before = state.looks
    state.setBy = by
    await pass(made.clock, () => state.looks > before, 6000, 'a look')
  }
  expect(state.asked).toEqual([])
  expect(warnings(made)).toEqual([])
})

test('one wrong reading, such as of another server, proves nothing', async () => {
  const { state, made } = foreign()
  await pass(made.clock, () => state.looks >= 1, 6000, 'a first look')
  const before = state.looks
  Object.defineProperty(state, 'setBy', { get: () => (state.looks === before + 1 ? -HOUR_MS : 0) })
  await pass(made.clock, () => state.looks >= before + 4, 30_000, 'more looks')
  expect(state.asked).toEqual([])
  expect(warnings(made)).toEqual([])
})

test('a relay that starts after the jump sees it by messages that were added later than now', async () => {
  const { state, made } = foreign()
  state.ahead = 1_200_000
  await pass(made.clock, () => state.asked.length > 0, 6000, 'the first look')
  expect(state.asked[0]?.backMs).toBe(0)
  await pass(made.clock, () => state.looks >= 6, 30_000, 'more looks')
  expect(warnings(made)).toHaveLength(1)
})

test('a clock that is set forward is told, and nothing is moved', async () => {
  const { state, made } = foreign()
  await pass(made.clock, () => state.looks >= 1, 6000, 'a first look')
  state.setBy = HOUR_MS
  await pass(made.clock, () => state.looks >= 6, 30_000, 'more looks')
  expect(state.asked).toEqual([])
  expect(warnings(made)).toEqual([
    'the clock of the outbox storage was set forward: claims have ended early and delayed messages come early',
  ])
})

test('a jump during an outage of the storage is seen when it answers again, and a stopped relay looks no more', async () => {
  const { state, made } = foreign()
  await pass(made.clock, () => state.looks >= 1, 6000, 'a first look')
  state.failing = true
  await pass(made.clock, () => state.looks >= 3, 30_000, 'looks in vain')
  state.failing = false
  state.setBy = -HOUR_MS
  await pass(made.clock, () => state.asked.length > 0, 6000, 'the look that shows it')
  expect(await made.relay.stop()).toBe(true)
  const { looks } = state
  await made.clock.advance(60_000)
  await calm()
  expect(state.looks).toBe(looks)
})

test('without a clock of the storage nothing is looked at', async () => {
  const made = start()
  await made.add(message('m1'))
  await pass(made.clock, () => made.sent().length === 1, 2000, 'published')
  expect(made.log).toEqual([])
})
