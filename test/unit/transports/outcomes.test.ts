import { describe, expect, test } from 'vitest'
import {
  confirmed,
  keyOrder,
  refusedForGood,
  sizeOf,
  tooLarge,
  unavailable,
  unknown,
  unroutable,
} from '../../../src/transports/shared/outcomes.ts'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { deliver, inHand } from '../../../src/transports/shared/deliver.ts'

function keyed(partitionKey?: string): OutgoingMessage {
  const to = { transport: 'default', kind: 'queue', name: 'q' } as const
  const rest = partitionKey === undefined ? {} : { partitionKey }
  return { id: '1', type: 't', headers: {}, body: new Uint8Array(), to, ...rest }
}

describe('the vocabulary of outcomes', () => {
  test('the size of a message counts its headers in bytes', () => {
    expect(sizeOf({ headers: { ü: '€' }, body: new Uint8Array(7) })).toBe(2 + 3 + 7)
  })

  test('what is too large or refused for good is not tried again; what is unroutable is', () => {
    expect(tooLarge(9, 8)).toMatchObject({ reason: 'too-large', permanent: true })
    expect(tooLarge(9, 8).error).toMatchObject({ details: { bytes: 9, limit: 8 } })
    expect(refusedForGood('no')).toMatchObject({ reason: 'refused', permanent: true })
    expect(unroutable({ kind: 'queue', name: 'q' })).toMatchObject({ permanent: false })
  })

  test('a cause is kept, and without one there is none', () => {
    const cause = new Error('why')
    expect(unavailable('x', cause).error.cause).toBe(cause)
    expect('cause' in unavailable('x').error).toBe(false)
  })
})

describe('the order of a key within one call', () => {
  test('what follows a refused message is held back', () => {
    const order = keyOrder()
    order.note(keyed('a'), confirmed)
    expect(order.before(keyed('a'))).toBeUndefined()
    order.note(keyed('a'), unroutable({ kind: 'queue', name: 'q' }))
    expect(order.before(keyed('a'))).toMatchObject({
      kind: 'refused',
      reason: 'refused',
      permanent: false,
    })
    expect(order.before(keyed('b'))).toBeUndefined()
  })

  test('what follows an unavailable or unknown one shares its answer, so that no attempt counts', () => {
    for (const outcome of [unavailable('gone'), unknown('no answer')]) {
      const order = keyOrder()
      order.note(keyed('a'), outcome)
      expect(order.before(keyed('a'))).toBe(outcome)
    }
  })

  test('messages without a key hold nothing back', () => {
    const order = keyOrder()
    order.note(keyed(), unavailable('gone'))
    expect(order.before(keyed())).toBeUndefined()
  })
})

describe('a delivery', () => {
  const delivery = {
    message: keyed(),
    queue: 'q',
    attempt: 1,
    signal: new AbortController().signal,
  }

  test('a callback that throws, at once or later, counts as a retry at once', async () => {
    const error = new Error('fault')
    const thrown = await deliver(() => {
      throw error
    }, delivery)
    const rejected = await deliver(async () => Promise.reject(error), delivery)
    expect([thrown, rejected]).toEqual([
      { kind: 'retry', delayMs: 0, error },
      { kind: 'retry', delayMs: 0, error },
    ])
  })

  test('waiting for what is in hand includes what is added meanwhile', async () => {
    const work = inHand()
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    work.add(first.promise)
    let done = false
    const settled = work.settled().then(() => (done = true))
    work.add(second.promise)
    first.resolve()
    await Promise.resolve()
    expect([work.count, done]).toEqual([1, false])
    second.resolve()
    await settled
    expect(work.count).toBe(0)
  })
})
