import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import type { PublishOutcome } from '../../../../src/core/transport.ts'
import {
  calm,
  confirmed,
  ids,
  message,
  pass,
  relays,
  type TestTransport,
  testTransport,
  until,
} from '../support.ts'

const { start } = relays()
const HOUR_MS = 3_600_000

/** A transport whose messages are long on their way. */
function patient(): TestTransport {
  const transport = testTransport()
  transport.features = { ...transport.features, patient: true }
  transport.behaviour = undefined
  return transport
}

const withdrawn: PublishOutcome = {
  kind: 'unavailable',
  error: new Error('taken back'),
  withdrawn: true,
}

function large(id: string, bytes: number): OutgoingMessage {
  return { ...message(id), body: new Uint8Array(bytes) }
}

describe('a message that is long on its way', () => {
  test('is published once, although its claim has ended many times over', async () => {
    const { add, clock, store, transport } = start({}, { transport: patient() })
    await add(message('a'), message('b', { key: 'k' }), message('c', { key: 'k' }))
    await until(() => transport.published.length === 2, 'the publishes')
    for (let second = 0; second < 200; second++) await clock.advance(1000)
    expect(transport.published).toHaveLength(2)
    for (const { answer } of transport.published) answer(confirmed)
    await until(
      () => transport.published.length === 3,
      'the next one of the key, under the same claim',
    )
    transport.published[2]?.answer(confirmed)
    await calm()
    expect((await store.admin.stats()).pending).toBe(0)
  })

  test('is published once in the express lane too', async () => {
    const { addExpress, clock, relay, store, transport } = start({}, { transport: patient() })
    await calm()
    const offer = relay.express()
    if (offer === undefined) throw new Error('the lane is closed')
    offer.dispatch(await addExpress(offer.token, offer.graceMs, message('a'), message('b')))
    await until(() => transport.published.length === 2, 'the publishes')
    for (let second = 0; second < 100; second++) await clock.advance(1000)
    expect(transport.published).toHaveLength(2)
    for (const { answer } of transport.published) answer(confirmed)
    await clock.advance(20)
    await calm()
    expect((await store.admin.stats()).pending).toBe(0)
  })

  test('is given up at the end of its claim if its transport does not say that it answers in the end', async () => {
    const transport = patient()
    transport.features = { ...transport.features, patient: false }
    const { add, clock } = start({}, { transport })
    await add(message('a'))
    await until(() => transport.published.length === 1, 'the publish')
    await pass(clock, () => transport.published.length === 2, 20_000, 'the second publish')
  })

  test('is given up at the end of its claim if the claim cannot be renewed, which is told once', async () => {
    const { add, clock, hooks, log, transport } = start({}, { transport: patient() })
    hooks.beforeRenew = () => {
      throw new Error('read-only')
    }
    await add(message('a'))
    await until(() => transport.published.length === 1, 'the publish')
    await pass(clock, () => transport.published.length === 2, 20_000, 'the second publish')
    expect(log.filter(({ message: text }) => text.startsWith('renewing'))).toHaveLength(1)
  })

  test('that has no answer is published again for as long as its first claim, not for ever', async () => {
    const { add, clock, transport } = start(
      { breaker: { firstMs: HOUR_MS, longestMs: HOUR_MS } },
      { transport: patient() },
    )
    await add(message('a'))
    for (let second = 0; second < 100; second++) {
      for (const { answer } of transport.published)
        answer({ kind: 'unknown', error: new Error('no answer') })
      await clock.advance(1000)
    }
    expect(transport.published.length).toBeLessThanOrEqual(3)
  })
})

describe('what a transport has not sent', () => {
  test('is given back when it says so, with no attempt charged and no breaker opened', async () => {
    const { add, log, store, transport } = start({}, { transport: patient() })
    transport.behaviour = (_, time) => (time === 1 ? withdrawn : confirmed)
    await add(...ids(10).map((id) => message(id)))
    await until(() => transport.published.length === 20, 'each a second time')
    await calm()
    expect((await store.admin.stats()).pending).toBe(0)
    expect(log).toEqual([])
  })

  test('is asked back when the relay stops, and what was sent is waited for', async () => {
    const { add, relay, store, transport } = start({}, { transport: patient() })
    await add(message('sent'), message('waits'))
    await until(() => transport.published.length === 2, 'the publishes')
    const [sent, waits] = transport.published
    waits?.withdraw?.addEventListener('abort', () => waits.answer(withdrawn))
    const stopped = relay.stop()
    await calm()
    expect([sent?.signal?.aborted, sent?.withdraw?.aborted]).toEqual([false, true])
    sent?.answer(confirmed)
    expect(await stopped).toBe(true)
    const stats = await store.admin.stats()
    expect([stats.pending, stats.claimed]).toEqual([1, 0])
  })
})

describe('the window in bytes', () => {
  test('bounds what is in hand, whatever the size of the messages, and each claim by what is left of it', async () => {
    const options = { batchSize: 1, window: 100, windowBytes: 1 << 20 }
    const { add, claims, relay, transport } = start(options, { transport: patient() })
    await add(...ids(20).map((id) => large(id, 300_000)))
    await until(() => transport.published.length === 2, 'two of them')
    await calm()
    expect(relay.held, 'half of the window is full, so that a good part can be claimed next').toBe(
      2,
    )
    expect(claims.every(({ maxBytes = Infinity }) => maxBytes <= 1 << 20)).toBe(true)
    for (let done = 0; done < 20; done++) {
      await until(() => transport.published.length > done, 'the next one')
      expect(relay.held).toBeLessThanOrEqual(2)
      transport.published[done]?.answer(confirmed)
      await calm()
    }
  })

  test('lets one message through that is larger than all of it', async () => {
    const { add, transport } = start({ windowBytes: 1 << 20 }, { transport: patient() })
    await add(large('huge', 5 << 20))
    await until(() => transport.published.length === 1, 'the publish')
  })

  test('holds for the express lane: what does not fit is given back', async () => {
    const { addExpress, relay, settlements } = start(
      { windowBytes: 1 << 20 },
      { transport: patient() },
    )
    await calm()
    const offer = relay.express()
    if (offer === undefined) throw new Error('the lane is closed')
    offer.dispatch(
      await addExpress(offer.token, offer.graceMs, large('a', 700_000), large('b', 700_000)),
    )
    await calm()
    expect(settlements.flat().map(({ kind }) => kind)).toEqual(['release', 'release'])
  })

  test('no longer counts the bytes of a confirmed message, although another one of its claim is without an answer', async () => {
    const { add, relay, transport } = start(
      { windowBytes: 1 << 20, batchSize: 10 },
      { transport: patient() },
    )
    await add(large('a', 600_000), message('b'))
    await until(() => transport.published.length === 2, 'the publishes')
    transport.published[0]?.answer(confirmed)
    await until(() => relay.held === 1, 'the settlement')
    await add(large('c', 600_000))
    await until(() => transport.published.length === 3, 'the next one')
  })
})
