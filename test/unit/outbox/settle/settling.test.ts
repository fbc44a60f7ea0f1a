import { describe, expect, test } from 'vitest'
import { calm, confirmed, ids, message, pass, relays, until } from '../support.ts'

const { start } = relays()

describe('settling', () => {
  test('what arrives while a settle is under way goes together with the next one', async () => {
    const { add, hooks, settlements, transport } = start()
    transport.behaviour = undefined
    await add(...ids(5).map((id) => message(id)))
    await until(() => transport.published.length === 5, 'the publish')
    const gate = Promise.withResolvers<void>()
    hooks.beforeSettle = () => gate.promise
    transport.published[0]?.answer(confirmed)
    await until(() => settlements.length === 1, 'the first settle')
    for (const { answer } of transport.published.slice(1)) answer(confirmed)
    await calm()
    expect(settlements).toHaveLength(1)
    gate.resolve()
    await until(() => settlements.length === 2, 'the second settle')
    expect(settlements.map((list) => list.length)).toEqual([1, 4])
  })

  test('a settle that fails is repeated while the claim holds', async () => {
    const { add, clock, hooks, settlements, store, transport } = start()
    let failures = 3
    hooks.beforeSettle = () => {
      if (failures-- > 0) throw new Error('away')
    }
    await add(message('a'))
    await pass(clock, () => settlements.length === 4, 3000, 'the repetition')
    await calm()
    expect((await store.admin.stats()).pending).toBe(0)
    expect(transport.published).toHaveLength(1)
  })

  test('P6: when the claim has ended and settling still fails, the message is not published again', async () => {
    const { add, clock, hooks, store, transport } = start({ claimMs: 1000 })
    hooks.beforeSettle = () => {
      throw new Error('away')
    }
    await add(message('a'))
    await pass(clock, () => transport.published.length === 1, 100, 'the publish')
    for (let seconds = 0; seconds < 30; seconds++) await clock.advance(1000)
    hooks.beforeSettle = () => {}
    await clock.advance(3000)
    await calm()
    expect(transport.published).toHaveLength(1)
    expect((await store.admin.stats()).pending).toBe(0)
  })

  test('P6: a relay that takes its own row again, while the settle is still under way, does not publish it again', async () => {
    const { add, clock, hooks, settlements, store, transport } = start({ claimMs: 1000 })
    const gate = Promise.withResolvers<void>()
    hooks.beforeSettle = () => (settlements.length === 1 ? gate.promise : undefined)
    await add(message('a'))
    await pass(clock, () => settlements.length === 1, 100, 'the settle')
    await clock.advance(5000)
    await calm()
    gate.resolve()
    await clock.advance(3000)
    await calm()
    expect(transport.published).toHaveLength(1)
    expect((await store.admin.stats()).pending).toBe(0)
  })
})
