import { describe, expect, test } from 'vitest'
import { calm, confirmed, ids, message, pass, relays, setup, until } from '../support.ts'

const { start } = relays()

describe('claiming', () => {
  test('committed messages are published and their rows go', async () => {
    const { add, relay, sent, store } = start()
    await add(message('a'), message('b', { key: 'k' }))
    await relay.drain()
    expect(sent().sort()).toEqual(['a', 'b'])
    expect((await store.admin.stats()).pending).toBe(0)
  })

  test('without any waker the poll timer finds the rows', async () => {
    const { add, clock, sent } = start({ pollIntervalMs: 400 }, { wakers: [] })
    await calm()
    await add(message('a'))
    await calm()
    expect(sent()).toEqual([])
    await clock.advance(400)
    await until(() => sent().length === 1, 'the publish')
  })

  test('a hint that comes during a claim is not lost', async () => {
    const { add, claims, hooks, relay, sent } = start()
    await calm()
    const gate = Promise.withResolvers<void>()
    hooks.beforeClaim = () => gate.promise
    relay.wake()
    const before = claims.length
    await until(() => claims.length === before + 1, 'the claim')
    hooks.beforeClaim = () => {}
    relay.wake()
    gate.resolve()
    await until(() => claims.length >= before + 2, 'a second claim without the clock moving')
    await add(message('a'))
    await until(() => sent().length === 1, 'the publish')
  })

  test('a full batch is followed by the next claim at once, while there is room in the window', async () => {
    const { add, claims, transport } = start({ batchSize: 10, window: 30 })
    transport.behaviour = undefined
    await add(...ids(100).map((id) => message(id)))
    await until(() => transport.published.length === 30, 'the window to fill')
    await calm()
    expect(transport.published).toHaveLength(30)
    expect(claims.every(({ limit }) => limit === 10)).toBe(true)
    for (const { answer } of transport.published.slice(0, 9)) answer(confirmed)
    await calm()
    expect(transport.published).toHaveLength(30)
    transport.published[9]?.answer(confirmed)
    await until(() => transport.published.length === 40, 'the next batch')
  })

  test('while it drains, the next batch does not wait for the rest between two full scans', async () => {
    const { add, clock, hooks, transport } = start({
      batchSize: 10,
      window: 100,
      pollIntervalMs: 10_000,
    })
    await calm()
    hooks.beforeClaim = () => clock.sleep(100)
    await add(...ids(40).map((id) => message(id)))
    const waited = await pass(clock, () => transport.published.length === 40, 5000, 'all of them')
    expect(waited).toBe(400)
  })

  test('a row that waits behind an earlier one of its key goes as soon as that one is settled', async () => {
    const { add, transport } = start()
    transport.behaviour = undefined
    await add(message('a', { key: 'k' }))
    await until(() => transport.published.length === 1, 'the first')
    await add(message('b', { key: 'k' }))
    await calm()
    expect(transport.published).toHaveLength(1)
    transport.published[0]?.answer(confirmed)
    await until(() => transport.published.length === 2, 'the second, without the clock moving')
  })

  test('a database that fails is tried again with backoff, and reported once', async () => {
    const { add, claims, clock, hooks, log, sent } = start({}, { wakers: [] })
    await calm()
    hooks.beforeClaim = () => {
      throw Object.assign(new Error('away'), { code: 'MERSAL_STORE_FAILED' })
    }
    await add(message('a'))
    await clock.advance(1000)
    const before = claims.length
    await clock.advance(5000)
    expect(claims.length - before).toBeGreaterThan(2)
    expect(claims.length - before).toBeLessThan(12)
    const errors = log.filter(({ level }) => level === 'error')
    expect(errors).toHaveLength(1)
    expect(errors[0]?.fields['code']).toBe('MERSAL_STORE_FAILED')
    hooks.beforeClaim = () => {}
    await pass(clock, () => sent().length === 1, 6000, 'the relay to recover')
    expect(log.filter(({ level }) => level === 'info')).toHaveLength(1)
  })

  test('unknown options are refused with a suggestion', () => {
    expect(() => setup({ polIntervalMs: 5 } as never)).toThrow(/did you mean 'pollIntervalMs'/)
  })
})
