import { describe, expect, test } from 'vitest'
import { calm, confirmed, message, pass, refusedOnce, relays, unavailable } from '../support.ts'
import type { Setup } from '../support.ts'

const HOUR_MS = 3_600_000
const { start } = relays()

const COUNT = 400
const EVERY_MS = 5

/** Delayed rows that fall due one after the other, each of them before a claim has ended. */
const burst = Array.from({ length: COUNT }, (_, index) =>
  message(`delayed ${index}`, { delayMs: 100 + EVERY_MS * index }),
)

/** A relay whose claims take so long, in the middle of such a burst. */
async function inBurst(claimsTakeMs: number, ...given: Parameters<typeof start>): Promise<Setup> {
  const made = start(...given)
  await calm()
  await made.add(...burst)
  made.relay.wake()
  await calm()
  made.hooks.beforeClaim = () => made.clock.sleep(claimsTakeMs / 2)
  made.hooks.afterClaim = () => made.clock.sleep(claimsTakeMs / 2)
  await elapse(made, 300)
  expect(made.sent().length).toBeGreaterThanOrEqual(10)
  return made
}

async function elapse({ clock }: Setup, ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += 5) {
    await calm()
    await clock.advance(5)
  }
  await calm()
}

const untilSent = ({ clock, sent }: Setup, id: string, most: number): Promise<number> =>
  pass(clock, () => sent().includes(id), most, `the publish of ${id}`)

/** The burst has gone on all the while, and nothing of it was late. */
async function wentOn(made: Setup, claimsTakeMs: number): Promise<void> {
  const sent = made.sent().filter((id) => id.startsWith('delayed')).length
  expect(sent, 'the burst still lasts').toBeLessThan(COUNT)
  const due = Math.floor((made.clock.monotonic() - 100) / EVERY_MS)
  expect(due - sent, 'rows that are due').toBeLessThanOrEqual((3 * claimsTakeMs + 20) / EVERY_MS)
}

describe.each([5, 10, 20])(
  'while delayed rows fall due all the time and claims take %s ms',
  (ms) => {
    test('what has just been added leaves with its hint', async () => {
      const made = await inBurst(ms, { pollIntervalMs: HOUR_MS })
      for (const id of ['a', 'b', 'c', 'd', 'e']) {
        await made.add(message(id))
        await untilSent(made, id, 4 * ms + 10)
        await elapse(made, 35)
      }
      await wentOn(made, ms)
    })

    test('what another program has added leaves with the poll', async () => {
      const made = await inBurst(ms, { pollIntervalMs: 500 }, { wakers: [] })
      await made.add(message('a'))
      await untilSent(made, 'a', 500 + 4 * ms + 10)
      await wentOn(made, ms)
    })

    test('a retry comes at its time', async () => {
      const made = await inBurst(ms, {
        pollIntervalMs: HOUR_MS,
        retry: { firstMs: 200, longestMs: 10_000 },
      })
      const { transport } = made
      transport.behaviour = ({ id }, time) => (id === 'a' && time === 1 ? refusedOnce : confirmed)
      const times = (): number =>
        transport.published.filter(({ message: { id } }) => id === 'a').length
      await made.add(message('a'))
      await pass(made.clock, () => times() === 1, 4 * ms + 10, 'the first try')
      // Times are rounded up to 50 ms.
      await pass(made.clock, () => times() === 2, 250 + 14 * ms, 'the second try')
      await wentOn(made, ms)
    })

    test('a destination is probed at its time', async () => {
      const made = await inBurst(ms, {
        pollIntervalMs: HOUR_MS,
        retry: { firstMs: 100, longestMs: 10_000 },
        breaker: { firstMs: 400, longestMs: 10_000 },
      })
      const { transport } = made
      let down = true
      transport.behaviour = ({ to }) => (to.name === 'down' && down ? unavailable : confirmed)
      const tries = (): number =>
        transport.published.filter(({ message: { to } }) => to.name === 'down').length
      await made.add(...['x', 'y', 'z'].map((id) => message(id, { to: 'down' })))
      await pass(made.clock, () => tries() === 3, 4 * ms + 10, 'the three failures')
      down = false
      await pass(made.clock, () => tries() > 3, 400 + 14 * ms, 'the probe')
      await wentOn(made, ms)
    })

    test('rows of a relay that has died are found', async () => {
      const made = await inBurst(ms, { pollIntervalMs: 300 }, { wakers: [] })
      const { add, clock, store } = made
      await add(message('a'))
      const exceptDestinations = ['default/queue/q']
      await add(message('b', { to: 'other' }))
      const dead = { token: 'of a dead relay', claimMs: 100, limit: 9, exceptDestinations }
      expect((await store.outbox.claim(dead)).length).toBe(1)
      // One poll finds what is behind the last row that was found, and wants a sweep.
      await pass(clock, () => made.sent().includes('b'), 600 + 14 * ms, 'its publish')
      await wentOn(made, ms)
    })
  },
)

test('a hint that comes during a claim is not lost to a row that falls due meanwhile', async () => {
  const { add, clock, hooks, relay, sent } = start({ pollIntervalMs: HOUR_MS })
  await calm()
  await add(message('delayed', { delayMs: 500 }))
  await calm()
  await clock.advance(495)
  hooks.afterClaim = () => clock.sleep(10)
  relay.wake()
  await calm()
  await add(message('now'))
  await pass(clock, () => sent().length === 2, 60, 'both')
  expect(sent().sort()).toEqual(['delayed', 'now'])
})
