import { describe, expect, test } from 'vitest'
import {
  calm,
  confirmed,
  message,
  pass,
  refusedForGood,
  refusedOnce,
  relays,
  testTransport,
  unknown,
  until,
} from '../support.ts'

const { start } = relays()

describe('publishing', () => {
  test('of one key at most one message is unconfirmed, unkeyed ones go together', async () => {
    const { add, transport } = start()
    transport.behaviour = undefined
    await add(
      message('a1', { key: 'a' }),
      message('x'),
      message('a2', { key: 'a' }),
      message('y'),
      message('b1', { key: 'b' }),
    )
    await until(() => transport.calls.length > 0, 'the publish')
    expect(transport.calls).toEqual([['a1', 'x', 'y', 'b1']])
    transport.published[0]?.answer(confirmed)
    await until(() => transport.calls.length === 2, 'the next of the key')
    expect(transport.calls[1]).toEqual(['a2'])
  })

  test('a transport that keeps the order of keys gets the whole run at once', async () => {
    const { add, transport } = start({}, { transport: testTransport('per-key') })
    await add(message('a1', { key: 'a' }), message('a2', { key: 'a' }), message('a3', { key: 'a' }))
    await until(() => transport.calls.length > 0, 'the publish')
    expect(transport.calls).toEqual([['a1', 'a2', 'a3']])
  })

  test('a transport that sends several as one gets so many of a key, and the next when those are confirmed', async () => {
    const bundling = testTransport()
    bundling.features = {
      ...bundling.features,
      together: (messages) => messages.findLastIndex(({ id }) => id <= 'a2') + 1 || messages.length,
    }
    const { add, transport } = start({}, { transport: bundling })
    transport.behaviour = undefined
    await add(
      message('a1', { key: 'a' }),
      message('a2', { key: 'a' }),
      message('a3', { key: 'a' }),
      message('a4', { key: 'a' }),
    )
    await until(() => transport.calls.length > 0, 'the publish')
    expect(transport.calls).toEqual([['a1', 'a2']])
    transport.published[0]?.answer(confirmed)
    await new Promise((resolve) => setImmediate(resolve))
    expect(transport.calls).toHaveLength(1)
    transport.published[1]?.answer(confirmed)
    await until(() => transport.calls.length === 2, 'the next of the key')
    expect(transport.calls[1]).toEqual(['a3', 'a4'])
  })

  test('a refusal is tried again later, and the later rows of its key are given back in the same settle', async () => {
    const { add, clock, settlements, transport, sent } = start({
      retry: { firstMs: 1000, longestMs: 1000 },
    })
    transport.behaviour = ({ id }, time) => (id === 'a1' && time === 1 ? refusedOnce : confirmed)
    await add(message('a1', { key: 'a' }), message('a2', { key: 'a' }), message('a3', { key: 'a' }))
    await until(() => settlements.length > 0, 'the settle')
    expect(settlements[0]?.map(({ kind }) => kind)).toEqual(['retry', 'release', 'release'])
    await pass(clock, () => sent().length === 4, 1100, 'the retry')
    expect(sent()).toEqual(['a1', 'a1', 'a2', 'a3'])
  })

  test('after its last attempt a message becomes a dead letter: it holds back its key', async () => {
    const { add, clock, store, transport } = start({
      maxAttempts: 3,
      retry: { firstMs: 10, longestMs: 10 },
    })
    transport.behaviour = ({ id }) => (id === 'bad' ? refusedOnce : confirmed)
    await add(
      message('bad', { key: 'a' }),
      message('next', { key: 'a' }),
      message('other', { key: 'b' }),
    )
    await pass(
      clock,
      () => transport.published.length === 4,
      2000,
      'three attempts and the other key',
    )
    await clock.advance(5000)
    expect(transport.calls.flat().filter((id) => id === 'bad')).toHaveLength(3)
    expect(transport.calls.flat()).not.toContain('next')
    const [letter] = await store.admin.deadLetters.list()
    expect(letter).toMatchObject({
      id: 'bad',
      reason: 'refused',
      attempts: 3,
      blocksKey: true,
      maybePublished: false,
    })
  })

  test('a permanent refusal needs no further attempt, and an unkeyed message holds back nothing', async () => {
    const { add, store, relay, transport, log } = start()
    transport.behaviour = ({ id }) => (id === 'bad' ? refusedForGood : confirmed)
    await add(message('bad'), message('next'))
    await relay.drain()
    expect(transport.calls).toEqual([['bad', 'next']])
    expect(await store.admin.deadLetters.list()).toMatchObject([
      { id: 'bad', reason: 'unroutable', blocksKey: false },
    ])
    expect((await store.admin.stats()).pending).toBe(0)
    expect(
      log.filter(({ level, fields }) => level === 'error' && fields['id'] === 'bad'),
    ).toHaveLength(1)
  })

  test('without an answer the message goes again with the same id under the same claim', async () => {
    const { add, claims, clock, transport, relay } = start()
    await relay.drain()
    const before = claims.length
    transport.behaviour = (_, time) => (time === 1 ? unknown : confirmed)
    await add(message('a', { key: 'k' }), message('b', { key: 'k' }))
    await pass(clock, () => transport.calls.length >= 4, 1000, 'both of them twice')
    expect(transport.calls).toEqual([['a'], ['a'], ['b'], ['b']])
    expect(
      claims.slice(before).filter(({ token }) => token !== undefined).length,
    ).toBeLessThanOrEqual(2)
  })

  test('without an answer until the claim nears its end the row is given back and no attempt is charged', async () => {
    const { add, clock, settlements, transport } = start({ claimMs: 1000, pollIntervalMs: 10_000 })
    transport.behaviour = undefined
    await add(message('a'))
    await until(() => transport.published.length === 1, 'the publish')
    await pass(
      clock,
      () => transport.published[0]?.signal?.aborted === true,
      900,
      'the end of the waiting',
    )
    transport.published[0]?.answer(unknown)
    await until(() => settlements.length === 1, 'the settle')
    expect(settlements[0]).toMatchObject([{ kind: 'release' }])
    transport.behaviour = () => confirmed
    await pass(clock, () => transport.published.length === 2, 2000, 'the next claim')
  })

  test('a transport that never answers does not hold the window for ever', async () => {
    const { add, clock, settlements, transport } = start({ claimMs: 1000, batchSize: 1, window: 1 })
    transport.behaviour = ({ id }) => (id === 'silent' ? undefined : confirmed)
    await add(message('silent'), message('b'))
    await pass(clock, () => transport.calls.flat().includes('b'), 3000, 'the other message')
    expect(settlements.flat()[0]).toMatchObject({ kind: 'release' })
  })

  test('a transport that throws is an answer that did not come', async () => {
    const transport = testTransport()
    const publish = transport.publish.bind(transport)
    let times = 0
    transport.publish = (messages, options) => {
      if (++times === 1) throw new Error('bug')
      return publish(messages, options)
    }
    const { add, clock, sent } = start({}, { transport })
    await add(message('a'))
    await pass(clock, () => sent().length === 1, 1000, 'the second try')
  })

  test('rows whose claim came back too late are given back unpublished', async () => {
    const { add, clock, hooks, settlements, transport } = start({
      claimMs: 1000,
      pollIntervalMs: 100_000,
    })
    await calm()
    hooks.beforeClaim = () => clock.sleep(850)
    await add(message('a'))
    await clock.advance(900)
    await until(() => settlements.length === 1, 'the settle')
    expect(settlements[0]).toMatchObject([{ kind: 'release' }])
    expect(transport.published).toHaveLength(0)
  })

  test("under 'skip', an unanswered attempt holds the key back for one claim time before the message is given up", async () => {
    const { add, clock, store, transport } = start({
      onDead: 'skip',
      claimMs: 2000,
      pollIntervalMs: 100,
    })
    transport.behaviour = ({ id }, time) =>
      id === 'bad' ? (time === 1 ? unknown : refusedForGood) : confirmed
    await add(message('bad', { key: 'k' }), message('next', { key: 'k' }))
    const waited = await pass(
      clock,
      () => transport.calls.flat().includes('next'),
      5000,
      'the next of the key',
    )
    expect(waited).toBeGreaterThanOrEqual(2000)
    expect(waited).toBeLessThan(2500)
    expect(await store.admin.deadLetters.list()).toMatchObject([
      { id: 'bad', maybePublished: true, blocksKey: false },
    ])
  })
})
