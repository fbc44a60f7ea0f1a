import { describe, expect, test } from 'vitest'
import { Mersal, type MersalError } from '../../../../src/index.ts'
import { memoryStore } from '../../../../src/memory.ts'
import { fakeTransport } from '../../support/fake-transport.ts'

const transport = fakeTransport()
const store = memoryStore()
const right = { name: 'shop', transport, store }

function refusal(options: unknown): MersalError {
  try {
    void new Mersal(options as never)
  } catch (error) {
    return error as MersalError
  }
  throw new Error('the options were accepted')
}

describe('options that cannot work are refused with the name of the field', () => {
  const cases: Record<string, [unknown, string]> = {
    'no options': [undefined, 'options'],
    'no name': [{ transport }, 'name'],
    'a name with a space': [{ ...right, name: 'my shop' }, 'name'],
    'no transport': [{ name: 'shop', store }, 'transport'],
    'a transport that is none': [{ ...right, transport: {} }, 'transport'],
    'a transport without features': [
      { ...right, transport: { ...transport, features: undefined } },
      'transport.features',
    ],
    'a transport without a limit': [
      { ...right, transport: { ...transport, features: { ordering: 'none' } } },
      'transport.features.maxMessageBytes',
    ],
    'a store that is none': [{ ...right, store: { unitOfWork: () => {} } }, 'store'],
    'a transport that cannot be closed': [
      { ...right, transport: { ...transport, [Symbol.asyncDispose]: undefined } },
      'transport',
    ],
    'a store that cannot be closed': [
      { ...right, store: { ...store, [Symbol.asyncDispose]: undefined } },
      'store',
    ],
    'a store without outbox': [{ ...right, store: { ...store, outbox: {} } }, 'store.outbox'],
    'a store without tracker': [
      { ...right, store: { ...store, tracker: undefined } },
      'store.tracker',
    ],
    'an outbox without storage or store': [
      { name: 'shop', transport, outbox: { runRelay: true } },
      'outbox',
    ],
    'a storage that is none': [
      { name: 'shop', transport, outbox: { storage: {} } },
      'outbox.storage',
    ],
    'a unit of work without outbox': [
      { name: 'shop', transport, unitOfWork: store.unitOfWork },
      'unitOfWork',
    ],
    'a unit of work that is no function': [{ ...right, unitOfWork: {} }, 'unitOfWork'],
    'idempotency without tracker or store': [
      { name: 'shop', transport, idempotency: {} },
      'idempotency',
    ],
    'a tracker without unit of work': [
      { name: 'shop', transport, idempotency: { tracker: store.tracker } },
      'idempotency.tracker',
    ],
    'an unknown choice': [
      { ...right, idempotency: { onDuplicate: 'drop' } },
      'idempotency.onDuplicate',
    ],
    'a wrong relay option': [
      { ...right, outbox: { relay: { claimMs: 0 } } },
      'outbox.relay.claimMs',
    ],
    'a route without a place': [{ ...right, routes: { 'a.b': {} } }, "routes['a.b']"],
    'a route to a bad queue': [{ ...right, routes: { 'a.b': 'my queue' } }, "routes['a.b'].queue"],
    'a route of a bad type': [{ ...right, routes: { 'a b': 'q' } }, "routes['a b']"],
    'a route to an unknown transport': [
      { ...right, routes: { 'a.b': { transport: 'far' } } },
      "routes['a.b'].transport",
    ],
    'a route to a transport that is no name': [
      { ...right, routes: { 'a.b': { transport: 7 } } },
      "routes['a.b'].transport",
    ],
    'a bridge called default': [{ ...right, bridges: { default: transport } }, 'bridges.default'],
    'a bridge that is none': [{ ...right, bridges: { far: {} } }, 'bridges.far'],
    'a flag that is none': [{ ...right, sendOnly: 'yes' }, 'sendOnly'],
    'no concurrency': [{ ...right, receive: { concurrency: 0 } }, 'receive.concurrency'],
    'half a retry': [{ ...right, receive: { immediateRetries: 0.5 } }, 'receive.immediateRetries'],
    'a timeout of no time': [
      { ...right, receive: { handlerTimeoutMs: 0 } },
      'receive.handlerTimeoutMs',
    ],
    'a backoff that shrinks': [
      { ...right, receive: { backoff: { firstMs: 10, longestMs: 5 } } },
      'receive.backoff.longestMs',
    ],
    'a grace that is none': [{ ...right, stopGraceMs: -1 }, 'stopGraceMs'],
    'steps that are no list': [{ ...right, incoming: {} }, 'incoming'],
    'a step without a function': [{ ...right, incoming: [{ name: 'x' }] }, 'incoming[0]'],
    'a step without a name': [{ ...right, outgoing: [{ run: () => {} }] }, 'outgoing[0].name'],
    'two steps of one name': [
      {
        ...right,
        outgoing: [
          { name: 'x', run: () => {} },
          { name: 'x', run: () => {} },
        ],
      },
      'outgoing[1].name',
    ],
    'a serializer that is none': [{ ...right, serializer: { encode: () => {} } }, 'serializer'],
    'a logger that is none': [{ ...right, logger: () => {} }, 'logger'],
    'a clock that is none': [{ ...right, clock: { now: () => 0 } }, 'clock'],
  }
  for (const [what, [options, field]] of Object.entries(cases)) {
    test(what, () => {
      const error = refusal(options)
      expect([error.code, error.details['field'] ?? error.message.split(':')[0]]).toEqual([
        'MERSAL_INVALID_OPTIONS',
        field,
      ])
    })
  }

  const suggestions: [unknown, string][] = [
    [{ ...right, trasport: transport }, "did you mean 'transport'?"],
    [{ ...right, receive: { concurency: 1 } }, "did you mean 'concurrency'?"],
    [{ ...right, outbox: { relay: { batchsize: 1 } } }, "did you mean 'batchSize'?"],
    [
      { ...right, bridges: { kafka: transport }, routes: { x: { transport: 'kafak' } } },
      "did you mean 'kafka'?",
    ],
  ]
  for (const [options, suggestion] of suggestions) {
    test(suggestion, () => expect(refusal(options).message).toContain(suggestion))
  }

  test('P14: a value that was given in the wrong place is not shown', () => {
    const secret = 'amqp://user:hunter2@host'
    expect(refusal({ ...right, transport: secret }).message).not.toContain('hunter2')
    expect(refusal({ ...right, store: secret }).message).not.toContain('hunter2')
    expect(refusal({ ...right, receive: secret }).message).not.toContain('hunter2')
  })
})

describe('P4: the inbox must outlive the longest redelivery', () => {
  const receive = {
    maxDeliveries: 3,
    immediateRetries: 1,
    handlerTimeoutMs: 1000,
    backoff: { firstMs: 10_000, longestMs: 15_000 },
  }
  // 3 deliveries of 2 tries of 1 s, and 10 s and 15 s between them
  const longest = 3 * 2 * 1000 + 10_000 + 15_000

  test('a shorter retention is refused, and the longest redelivery is named', () => {
    const error = refusal({ ...right, receive, idempotency: { retentionMs: longest - 1 } })
    expect(error.details['field']).toBe('idempotency.retentionMs')
    expect(error.message).toContain(`${longest} ms`)
  })

  test('one that is just long enough is accepted', () => {
    expect(new Mersal({ ...right, receive, idempotency: { retentionMs: longest } }).state).toBe(
      'idle',
    )
  })

  test('the default of 7 days is refused too, if redeliveries take longer', () => {
    const endless = { maxDeliveries: 1000, backoff: { firstMs: 86_400_000, longestMs: 86_400_000 } }
    expect(refusal({ ...right, receive: endless }).details['field']).toBe('idempotency.retentionMs')
  })
})
