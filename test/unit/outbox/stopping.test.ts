import { describe, expect, test } from 'vitest'
import { calm, confirmed, ids, message, relays, setup, unknown, until } from './support.ts'

const { start } = relays()

describe('stopping', () => {
  test('what is in flight is settled, the rest is given back, and no timer is left', async () => {
    const { add, clock, relay, settlements, store, transport } = start()
    transport.behaviour = undefined
    await add(message('a1', { key: 'a' }), message('a2', { key: 'a' }), message('x'))
    await until(() => transport.published.length === 2, 'the publish')
    const stopped = relay.stop()
    expect(relay.state).toBe('stopping')
    expect(relay.express()).toBeUndefined()
    for (const { answer } of transport.published) answer(confirmed)
    expect(await stopped).toBe(true)
    expect(relay.state).toBe('stopped')
    expect(
      settlements
        .flat()
        .map(({ kind }) => kind)
        .sort(),
    ).toEqual(['release', 'sent', 'sent'])
    expect(await store.admin.stats()).toMatchObject({ pending: 1, claimed: 0 })
    expect(clock.sleeping).toBe(0)
  })

  test('after the grace it ends all the same and says that something is open', async () => {
    const { add, clock, relay, transport } = start()
    transport.behaviour = undefined
    await add(message('a'))
    await until(() => transport.published.length === 1, 'the publish')
    const stopped = relay.stop({ graceMs: 100 })
    await clock.advance(100)
    expect(await stopped).toBe(false)
    expect(transport.published[0]?.signal?.aborted).toBe(true)
    expect(clock.sleeping).toBe(0)
  })

  test('rows of a claim that was under way are given back', async () => {
    const { add, hooks, relay, settlements, transport } = start()
    await calm()
    const gate = Promise.withResolvers<void>()
    hooks.beforeClaim = () => gate.promise
    await add(message('a'))
    await calm()
    const stopped = relay.stop()
    gate.resolve()
    expect(await stopped).toBe(true)
    expect(transport.published).toHaveLength(0)
    expect(settlements.flat()).toMatchObject([{ kind: 'release' }])
  })

  test('a message that waits to go again is given back, not waited for', async () => {
    const { add, clock, relay, settlements, transport } = start()
    transport.behaviour = () => unknown
    await add(message('a'))
    await until(() => transport.published.length === 1, 'the publish')
    await calm()
    expect(await relay.stop()).toBe(true)
    expect(settlements.flat()).toMatchObject([{ kind: 'release' }])
    expect(clock.sleeping).toBe(0)
  })

  test('a relay that never ran stops too, and cannot be started again', async () => {
    const { relay } = setup()
    expect(await relay.stop()).toBe(true)
    expect(() => relay.start()).toThrow(expect.objectContaining({ code: 'MERSAL_APP_STOPPED' }))
  })

  test('await using stops it', async () => {
    const found = setup()
    {
      await using relay = found.relay
      relay.start()
    }
    expect(found.relay.state).toBe('stopped')
    expect(found.clock.sleeping).toBe(0)
  })
})

describe('draining', () => {
  test('waits for what is in flight and for what is due', async () => {
    const { add, relay, transport } = start({ batchSize: 2, window: 4 })
    transport.behaviour = undefined
    await add(...ids(6).map((id) => message(id, { key: 'k' })))
    let drained = false
    const draining = relay.drain().then(() => (drained = true))
    for (let count = 1; count <= 6; count++) {
      await until(() => transport.published.length === count, `message ${count}`)
      expect(drained).toBe(false)
      transport.published[count - 1]?.answer(confirmed)
    }
    await draining
  })

  test('is not over because a claim found nothing while the row that held back the others was still in hand', async () => {
    const { add, hooks, relay, sent, transport } = start({ batchSize: 1, window: 4 })
    transport.behaviour = undefined
    await add(message('first', { key: 'k' }), message('second', { key: 'k' }))
    await until(() => transport.published.length === 1, 'the first')
    await calm()
    const gate = Promise.withResolvers<void>()
    let found = false
    hooks.afterClaim = () => {
      found = true
      return gate.promise
    }
    let drained = false
    const draining = relay.drain().then(() => (drained = true))
    await until(() => found, 'a claim that finds nothing')
    transport.published[0]?.answer(confirmed)
    await until(() => relay.held === 0, 'the settlement')
    gate.resolve()
    await until(() => transport.published.length === 2, 'the second')
    expect(drained).toBe(false)
    transport.published[1]?.answer(confirmed)
    await draining
    expect(sent()).toEqual(['first', 'second'])
  })

  test('can be given up, and fails when the relay stops or does not run', async () => {
    const { add, relay, transport } = start()
    transport.behaviour = undefined
    await add(message('a'))
    await until(() => transport.published.length === 1, 'the publish')
    const reason = new Error('enough')
    await expect(relay.drain({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const draining = expect(relay.drain()).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    transport.published[0]?.answer(confirmed)
    await relay.stop()
    await draining
    await expect(relay.drain()).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
  })
})
