import { describe, expect, test } from 'vitest'
import { calm, confirmed, ids, message, pass, relays, until } from './relay-support.ts'

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

  test('when the claim has ended the row is left to fall due, and published again', async () => {
    const { add, clock, hooks, log, transport } = start({ claimMs: 1000 })
    hooks.beforeSettle = () => {
      throw new Error('away')
    }
    await add(message('a'))
    await clock.advance(1200)
    await pass(clock, () => transport.published.length === 2, 5000, 'the second publish')
    hooks.beforeSettle = () => {}
    expect(log.some(({ level, message }) => level === 'error' && message.includes('will be published again'))).toBe(true)
  })
})
