import { describe, expect, test } from 'vitest'
import type { Pause } from '../../../../src/core/operations.ts'
import { calm, ids, message, pass, relays, setup } from '../support.ts'

const HOUR_MS = 3_600_000
const { keep, start } = relays()
/** What is found is found by the watch alone. */
const rarely = { pollIntervalMs: HOUR_MS }

describe('delayed messages', () => {
  test('leave at their time, with the poll an hour away', async () => {
    const { add, clock, sent } = start(rarely)
    await calm()
    await add(message('late', { delayMs: 700 }), message('early', { delayMs: 300 }))
    const took = await pass(clock, () => sent().length === 1, 2000, 'the first publish')
    expect(sent()).toEqual(['early'])
    expect(took).toBeGreaterThanOrEqual(300)
    expect(took).toBeLessThanOrEqual(340)
    const more = await pass(clock, () => sent().length === 2, 2000, 'the second publish')
    expect(took + more).toBeGreaterThanOrEqual(700)
    expect(took + more).toBeLessThanOrEqual(740)
  })

  test('are found by a relay that starts after they were added', async () => {
    const made = keep(setup(rarely))
    await made.add(message('a', { delayMs: 5000 }))
    made.relay.start()
    const took = await pass(made.clock, () => made.sent().length === 1, 6000, 'the publish')
    expect(took).toBeGreaterThanOrEqual(5000)
    expect(took).toBeLessThanOrEqual(5040)
  })

  test('a time beyond the longest timer of Node does not fire at once', async () => {
    const { add, claims, clock, questions } = start(rarely)
    await calm()
    await add(message('a', { delayMs: 31_000_000_000 }))
    await calm()
    await clock.advance(1000)
    expect(questions.length).toBeGreaterThanOrEqual(2)
    const [claimed, asked] = [claims.length, questions.length]
    await clock.advance(60_000)
    await calm()
    expect(claims.length - claimed).toBe(0)
    expect(questions.length - asked).toBe(0)
  })

  test('a thousand that are due at one time need a few claims', async () => {
    const { add, claims, clock, sent } = start(rarely)
    const many = Array.from({ length: 1000 }, (_, index) =>
      message(`m${index}`, { delayMs: 500 + index / 100 }),
    )
    await add(...many)
    await calm()
    const before = claims.length
    await pass(clock, () => sent().length === 1000, 1000, 'all of them')
    expect(claims.length - before).toBeLessThanOrEqual(12)
  })

  test('that are due and cannot go do not make the relay look over and over', async () => {
    const pauses = { list: async () => [paused('destination', 'default/queue/down')] }
    const { add, claims, clock, hooks, questions, sent, store } = start(rarely, { pauses })
    await add(message('head', { key: 'k', to: 'down' }))
    await add(
      message('paused', { delayMs: 100, to: 'down' }),
      message('behind', { delayMs: 100, key: 'k' }),
      message('held', { delayMs: 100 }),
      message('free', { delayMs: 400 }),
    )
    await calm()
    await clock.advance(99)
    const [claimed, asked] = [claims.length, questions.length]
    const held: string[] = []
    hooks.beforeClaim = async () => {
      hooks.beforeClaim = () => {}
      const others = { exceptDestinations: ['default/queue/down'], limit: 9, claimMs: HOUR_MS }
      const rows = await store.outbox.claim({ ...others, token: 'of another relay' })
      held.push(...rows.map((row) => row.message.id))
    }
    await clock.advance(1)
    expect(held).toEqual(['held'])
    for (let ms = 0; ms < 3000; ms += 5) await clock.advance(5)
    await calm()
    expect(sent()).toEqual(['free'])
    // One for each time that comes, and one that follows what was sent.
    expect(claims.length - claimed).toBeLessThanOrEqual(6)
    expect(questions.length - asked).toBeLessThanOrEqual(2)
  })

  test('hints without end do not become questions without end', async () => {
    const { clock, questions, relay } = start(rarely)
    await calm()
    const before = questions.length
    for (let ms = 0; ms < 1000; ms += 1) {
      relay.wake()
      await clock.advance(1)
    }
    expect(questions.length - before).toBeGreaterThanOrEqual(20)
    expect(questions.length - before).toBeLessThanOrEqual(50)
  })

  test.each(['before', 'after'] as const)(
    'leave at their time although the storage answers slowly, and reads its clock %s it waits',
    async (when) => {
      const { add, clock, hooks, sent } = start({ pollIntervalMs: 60_000 })
      if (when === 'before') hooks.afterUpcoming = () => clock.sleep(200)
      else hooks.beforeUpcoming = () => clock.sleep(200)
      await calm()
      await add(message('a', { delayMs: 2000 }))
      const took = await pass(clock, () => sent().length === 1, 3000, 'the publish')
      expect(took).toBeGreaterThanOrEqual(2000)
      expect(took).toBeLessThanOrEqual(2040)
    },
  )

  test('leave at their time after the storage was away', async () => {
    const { add, clock, hooks, log, sent } = start({ pollIntervalMs: 500 }, { wakers: [] })
    hooks.beforeUpcoming = () => Promise.reject(new Error('away'))
    await calm()
    await add(message('a', { delayMs: 5000 }))
    await clock.advance(2000)
    expect(log.some(({ level }) => level !== 'debug')).toBe(false)
    hooks.beforeUpcoming = () => {}
    const took = await pass(clock, () => sent().length === 1, 5000, 'the publish')
    expect(2000 + took).toBeGreaterThanOrEqual(5000)
    expect(2000 + took).toBeLessThanOrEqual(5040)
  })

  test('that are more than one answer tells leave at their time, too', async () => {
    const { add, clock, hooks, sent } = start({ ...rarely, window: 5000, batchSize: 1000 })
    // As if each question and its answer were three milliseconds on their way.
    hooks.beforeUpcoming = () => clock.sleep(3)
    const spread = Array.from({ length: 600 }, (_, index) =>
      message(`s${index}`, { delayMs: 1000 + 2 * index }),
    )
    const together = ids(2000).map((id) => message(id, { delayMs: 3000 }))
    await add(...spread, ...together)
    for (let ms = 0; ms < 2300; ms++) {
      await clock.advance(1)
      if (ms === 2260) await calm()
    }
    expect(sent().length).toBe(600)
    await clock.advance(700)
    await pass(clock, () => sent().length === 2600, 100, 'all of them')
  })

  test.each([0, 30])(
    'whose time has passed when their transaction commits leave with its hint, with claims of %s ms',
    async (ms) => {
      const { add, clock, hooks, sent, store } = start(rarely)
      await calm()
      if (ms > 0) hooks.afterClaim = () => clock.sleep(ms)
      const { promise, resolve } = Promise.withResolvers<void>()
      const unit = store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, [message('long', { delayMs: 300 })])
        await promise
      })
      await calm()
      // Others come and go, and one falls due when the transaction commits.
      await add(message('delayed', { delayMs: 1000 }))
      await pass(clock, () => clock.monotonic() >= 900, 1000, 'most of the time')
      await add(message('other'))
      await clock.advance(95)
      resolve()
      await unit
      await pass(clock, () => sent().length === 3, 10 * ms + 20, 'all of them')
    },
  )

  test('that wait in large numbers make no hint expensive', async () => {
    const { add, clock, questions, relay } = start(rarely)
    await add(...ids(1000).map((id, index) => message(id, { delayMs: HOUR_MS / 2 + index })))
    await calm()
    const before = questions.length
    for (let ms = 0; ms < 1000; ms += 1) {
      relay.wake()
      await clock.advance(1)
    }
    const asked = questions.slice(before)
    expect(asked.length).toBeGreaterThanOrEqual(20)
    expect(asked.reduce((sum, rows) => sum + rows, 0)).toBeLessThanOrEqual(2000)
  })

  test('that wait in large numbers leave no looks behind when hints are many', async () => {
    const { add, claims, clock, relay, sent } = start(rarely)
    await add(...ids(1000).map((id, index) => message(id, { delayMs: 100 * (index + 1) })))
    for (let ms = 0; ms < 40_000; ms += 100) {
      relay.wake()
      await clock.advance(100)
    }
    await calm()
    const [claimed, done] = [claims.length, sent().length]
    for (let ms = 0; ms < 20_000; ms += 100) await clock.advance(100)
    await calm()
    expect(sent().length - done).toBeGreaterThanOrEqual(198)
    const others = claims.slice(claimed).filter(({ positions }) => positions === undefined)
    expect(others.length).toBeLessThanOrEqual(5)
  })

  test('do not keep the relay from its poll', async () => {
    const { add, clock, sent } = start({ pollIntervalMs: 500 }, { wakers: [] })
    const often = ids(400).map((id, index) => message(id, { delayMs: 10 * (index + 1) }))
    await add(...often)
    await calm()
    await clock.advance(100)
    await add(message('now'))
    await pass(clock, () => sent().includes('now'), 520, 'the publish of what no delay holds up')
  })
})

const paused = (kind: Pause['kind'], name: string): Pause => ({ kind, name, since: 0, reason: '' })
