import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import type { Delivery, Disposition } from '../../../src/core/transport.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'
import { HeldQueue } from '../../../src/transports/shared/held-queue.ts'
import type { HeldMessages } from '../../../src/transports/shared/receiving/held-messages.ts'

interface Message {
  readonly name: string
}

const POLL_MS = 1000
const VISIBILITY_MS = 3000

/** A queue of names in memory; what is settled is written down. */
function open({ concurrency = 2, prefetch = 0, waiting = [] as string[] } = {}) {
  const clock = manualClock()
  const settled: string[] = []
  const warnings: string[] = []
  const troubles: (string | undefined)[] = []
  const asked = new Map<string, { delivery: Delivery; answer: (given: Disposition) => void }>()
  const fails: { take: number; renew?: Error } = { take: 0 }
  const lost = new Set<string>()
  const due = { inMs: Infinity }
  const limits: number[] = []
  let ring = (): void => {}
  const messages: HeldMessages<Message> = {
    async take(limit) {
      limits.push(limit)
      if (fails.take-- > 0) throw new Error('the place is away')
      const taken = waiting.splice(0, limit).map((name) => ({ name }))
      return { messages: taken, more: taken.length === limit && waiting.length > 0 }
    },
    deliveryOf: ({ name }, signal) =>
      name === 'malformed'
        ? { kind: 'reject', reason: 'malformed', error: new Error('no headers') }
        : {
            message: { id: name, type: 't', headers: {}, body: new Uint8Array() },
            queue: 'q',
            attempt: 1,
            signal,
          },
    async renew(held) {
      if (fails.renew !== undefined) throw fails.renew
      return new Set(held.filter(({ name }) => !lost.has(name)))
    },
    async settle({ name }, { kind }) {
      settled.push(`${name} ${kind}`)
    },
    listen(call, signal) {
      ring = call
      return new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve(), { once: true }),
      )
    },
    nextDueMs: () => due.inMs,
  }
  const queue = new HeldQueue<Message>(
    {
      name: 'test queue',
      consumption: { queue: 'q', concurrency, onTrouble: (error) => troubles.push(error?.message) },
      onDelivery: (delivery) =>
        new Promise((answer) => asked.set(delivery.message.id, { delivery, answer })),
      prefetch,
      visibilityMs: VISIBILITY_MS,
      pollIntervalMs: POLL_MS,
      pause: { firstMs: 100, longestMs: 400 },
      logger: { ...silentLogger, warn: (_, text) => void warnings.push(text) },
      clock,
      random: () => 1,
    },
    () => messages,
  )
  return {
    clock,
    troubles,
    queue,
    settled,
    warnings,
    fails,
    lost,
    due,
    waiting,
    limits,
    ring: () => ring(),
    inHand: () => [...asked.keys()],
    signalOf: (name: string) => asked.get(name)?.delivery.signal.aborted,
    answer: (name: string, given: Disposition = { kind: 'ack' }) => {
      asked.get(name)?.answer(given)
      asked.delete(name)
    },
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a held queue', () => {
  test('takes as many as may be in hand, and more as soon as one is answered', async () => {
    const { queue, inHand, answer, settled } = open({ waiting: ['1', '2', '3'] })
    await turn()
    expect(inHand()).toEqual(['1', '2'])
    answer('1')
    await turn()
    expect([inHand(), settled]).toEqual([['2', '3'], ['1 ack']])
    answer('2')
    answer('3')
    await queue[Symbol.asyncDispose]()
  })

  test('takes more than it has hands for, when told to, and no more until half of those have begun', async () => {
    const waiting = ['1', '2', '3', '4', '5', '6', '7', '8']
    const { queue, inHand, answer, settled, limits } = open({ prefetch: 6, waiting })
    await turn()
    expect([inHand(), waiting, limits]).toEqual([['1', '2'], ['7', '8'], [6]])
    answer('1')
    await turn()
    expect([inHand(), limits]).toEqual([['2', '3'], [6]])
    answer('2')
    await turn()
    expect([inHand(), waiting, limits]).toEqual([['3', '4'], [], [6, 2]])
    for (const name of ['3', '4', '5', '6', '7', '8']) {
      answer(name)
      await turn()
    }
    expect(settled).toEqual(['1', '2', '3', '4', '5', '6', '7', '8'].map((name) => `${name} ack`))
    await queue[Symbol.asyncDispose]()
  })

  test('P11: what waits for a hand is renewed, is not begun once it is lost, and goes back at a stop', async () => {
    const waiting = ['1', '2', '3']
    const { clock, queue, inHand, answer, settled, lost } = open({
      concurrency: 1,
      prefetch: 3,
      waiting,
    })
    await turn()
    lost.add('2')
    await clock.advance(VISIBILITY_MS / 3)
    answer('1')
    await turn()
    expect([inHand(), settled]).toEqual([['3'], ['1 ack', '2 release']])
    waiting.push('4', '5')
    await clock.advance(POLL_MS)
    const stopped = queue[Symbol.asyncDispose]()
    await turn()
    answer('3')
    await stopped
    expect(settled.toSorted()).toEqual(['1 ack', '2 release', '3 ack', '4 release', '5 release'])
    expect(inHand()).toEqual([])
  })

  test('looks when it is rung, when something falls due, and when the poll interval is over', async () => {
    const { clock, queue, inHand, answer, ring, due, waiting } = open({ concurrency: 10 })
    await turn()
    waiting.push('1')
    ring()
    await turn()
    expect(inHand()).toEqual(['1'])
    due.inMs = 70
    ring()
    await turn()
    waiting.push('2')
    await clock.advance(69)
    expect(inHand()).toEqual(['1'])
    due.inMs = Infinity
    await clock.advance(1)
    expect(inHand()).toEqual(['1', '2'])
    waiting.push('3')
    await clock.advance(POLL_MS)
    expect(inHand()).toEqual(['1', '2', '3'])
    for (const name of inHand()) answer(name)
    await queue[Symbol.asyncDispose]()
  })

  test('does with a message what needs no callback', async () => {
    const { queue, settled } = open({ waiting: ['malformed'] })
    await turn()
    expect(settled).toEqual(['malformed reject'])
    await queue[Symbol.asyncDispose]()
  })

  test('a message that somebody else has taken is lost, and the others are not', async () => {
    const { clock, queue, answer, signalOf, lost } = open({ waiting: ['1', '2'] })
    await turn()
    lost.add('1')
    await clock.advance(VISIBILITY_MS / 3)
    expect([signalOf('1'), signalOf('2')]).toEqual([true, false])
    answer('1')
    answer('2')
    await queue[Symbol.asyncDispose]()
  })

  test('while the place cannot be told, a message is lost when its time is over, and not before', async () => {
    const { clock, queue, answer, signalOf, fails } = open({ waiting: ['1'] })
    await turn()
    await clock.advance(VISIBILITY_MS / 3)
    fails.renew = new Error('the place is away')
    await clock.advance(VISIBILITY_MS - 1000)
    expect(signalOf('1')).toBe(false)
    await clock.advance(1000)
    expect(signalOf('1')).toBe(true)
    answer('1')
    await queue[Symbol.asyncDispose]()
  })

  test('P10: after failures it goes on with a growing pause, and logs them once', async () => {
    const { clock, queue, inHand, answer, fails, waiting, warnings, ring } = open()
    await turn()
    fails.take = 3
    waiting.push('1')
    ring()
    await clock.advance(100 + 200 + 399)
    expect([inHand(), warnings]).toEqual([
      [],
      ['test queue: fetching messages failed, trying again'],
    ])
    await clock.advance(1)
    expect(inHand()).toEqual(['1'])
    answer('1')
    await queue[Symbol.asyncDispose]()
  })

  test('tells that it cannot receive, once it can again, and nothing of a stop', async () => {
    const { clock, queue, fails, troubles, ring } = open()
    await turn()
    expect(troubles).toEqual([])
    fails.take = 2
    ring()
    await clock.advance(100)
    expect(troubles).toEqual(['the place is away', 'the place is away'])
    await clock.advance(200)
    expect(troubles.slice(2)).toEqual([undefined])
    ring()
    await turn()
    await queue[Symbol.asyncDispose]()
    expect(troubles).toHaveLength(3)
  })

  test('P11: a stop waits for the callbacks, takes nothing more, and keeps hold meanwhile', async () => {
    const { clock, queue, inHand, answer, settled, signalOf, lost, waiting, ring } = open({
      waiting: ['1'],
    })
    await turn()
    let stopped = false
    const stopping = queue[Symbol.asyncDispose]().then(() => (stopped = true))
    waiting.push('2')
    ring()
    await clock.advance(POLL_MS)
    expect([inHand(), stopped, signalOf('1')]).toEqual([['1'], false, false])
    lost.add('1')
    await clock.advance(VISIBILITY_MS)
    expect(signalOf('1')).toBe(true)
    answer('1')
    await stopping
    expect(settled).toEqual(['1 ack'])
  })

  test('breaking off ends a stop that waits for a callback', async () => {
    const { queue } = open({ waiting: ['1'] })
    await turn()
    const stopping = queue[Symbol.asyncDispose]()
    await queue.breakOff(new Error('closed'))
    await stopping
  })

  test('breaking off aborts the deliveries and does not wait for them', async () => {
    const { queue, signalOf } = open({ waiting: ['1'] })
    await turn()
    await queue.breakOff(new Error('closed'))
    expect(signalOf('1')).toBe(true)
  })
})
