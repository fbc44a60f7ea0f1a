import { describe, expect, test } from 'vitest'
import { type Envelope, type TypeOf, event } from '../../../src/index.ts'
import { cloudEvents } from '../../../src/contracts/index.ts'
import {
  amqpAttribute,
  fromAmqp,
  percentDecoded,
  percentEncoded,
} from '../../../src/core/messages/cloud-events.ts'
import { json } from '../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../support/shop.ts'

const Placed = event<{ n: number }>('com.example.placed')
const wireFormat = cloudEvents({ source: '/shops/1' })
const foreign = {
  'ce-specversion': '1.0',
  'ce-id': 'A-234',
  'ce-source': '/others',
  'ce-type': Placed.name,
}

async function deliver(options: ShopOptions, message: Partial<Envelope>) {
  const { app, transport, rows } = openShop(options)
  const seen: Envelope[] = []
  app.handle(Placed, async ({ n }, { message: given, publish }) => {
    seen.push(given)
    await publish(Placed, { n })
  })
  await app.start()
  const all = { id: '', type: '', body: json({ n: 1 }), ...message }
  const ends = [await transport.deliver('shop', all), await transport.deliver('shop', all)]
  const sent = await rows()
  await app.stop()
  return { end: ends[0]!, ends, seen, sent }
}

describe('a message as a CloudEvent', () => {
  test('has the attributes of the specification beside our headers', async () => {
    const { app, rows } = openShop({ wireFormat })
    await app.transaction((_, { publish }) =>
      publish(Placed, { n: 1 }, { partitionKey: 'k', headers: { traceparent: '00-a-b-01' } }),
    )
    const [{ id, headers } = { id: '', headers: {} as Envelope['headers'] }] = await rows()
    expect(headers).toMatchObject({
      'ce-specversion': '1.0',
      'ce-id': id,
      'ce-source': '/shops/1',
      'ce-type': 'com.example.placed',
      'ce-time': headers['sent-at'],
      'ce-correlationid': id,
      'ce-partitionkey': 'k',
      'ce-traceparent': '00-a-b-01',
      'content-type': 'application/json',
      sender: 'shop',
    })
    await app.stop()
  })

  test('is read by an app with the format and by one without', async () => {
    const { sent } = await deliver({ wireFormat }, { headers: foreign })
    for (const options of [{ wireFormat }, {}]) {
      const { seen, ends } = await deliver(options, sent[0]!)
      expect(ends).toEqual([{ kind: 'ack' }, { kind: 'ack' }])
      expect(seen.map(({ id, type }) => ({ id, type }))).toEqual([
        { id: sent[0]!.id, type: Placed.name },
      ])
    }
  })
})

describe('a foreign CloudEvent', () => {
  test('is handled once, under an id that source and id make', async () => {
    const headers = {
      ...foreign,
      'ce-time': '2026-01-01T00:00:00Z',
      'ce-correlationid': 'c1',
      'ce-datacontenttype': 'application/json',
    }
    const { ends, seen, sent } = await deliver({ wireFormat }, { headers })
    expect(ends).toEqual([{ kind: 'ack' }, { kind: 'ack' }])
    expect(seen).toHaveLength(1)
    expect(seen[0]).toMatchObject({
      id: expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
      type: Placed.name,
      headers: {
        'sent-at': '2026-01-01T00:00:00Z',
        'content-type': 'application/json',
        'ce-id': 'A-234',
      },
    })
    expect(sent[0]?.headers).toMatchObject({ 'correlation-id': 'c1', 'causation-id': seen[0]!.id })
    const other = await deliver({ wireFormat }, { headers: { ...foreign, 'ce-source': '/x' } })
    expect(other.seen[0]?.id).not.toBe(seen[0]?.id)
  })

  test('keeps an id that is a UUID', async () => {
    const id = '0190A000-0000-7000-8000-00000000ABCD'
    const { seen } = await deliver({ wireFormat }, { headers: { ...foreign, 'ce-id': id } })
    expect(seen[0]?.id).toBe(id.toLowerCase())
  })

  test.each([
    [{ 'ce-id': '' }, "attribute 'id'"],
    [{ 'ce-source': '' }, "attribute 'source'"],
    [{ 'ce-type': '' }, "attribute 'type'"],
    [{ 'ce-type': 'two words' }, 'type is no name'],
    [{ 'ce-specversion': '0.3' }, "version '0.3'"],
  ])('with %o is a dead letter that says so', async (change, text) => {
    const { end, seen } = await deliver({ wireFormat }, { headers: { ...foreign, ...change } })
    expect(end).toMatchObject({ kind: 'reject', reason: 'malformed' })
    expect((end as { error: Error }).error.message).toContain(text)
    expect(seen).toEqual([])
  })
})

describe('a foreign message without a type', () => {
  const typed = async (typeOf: TypeOf, message: Partial<Envelope> = {}) =>
    await deliver({ typeOf }, { headers: { 'x-kind': 'placed' }, ...message })

  test('gets one, and a new id each time it comes', async () => {
    const { seen, ends } = await typed(({ headers }) =>
      headers['x-kind'] === 'placed' ? Placed.name : undefined,
    )
    expect(ends).toEqual([{ kind: 'ack' }, { kind: 'ack' }])
    expect(new Set(seen.map(({ id }) => id)).size).toBe(2)
  })

  test('with an id of its sender is handled once', async () => {
    const { seen } = await typed(() => ({ type: Placed.name, id: 'order 7' }))
    expect(seen.map(({ id }) => id)).toEqual(['order 7'])
    const own = await typed(() => Placed.name, { id: 'given' })
    expect(own.seen.map(({ id }) => id)).toEqual(['given'])
  })

  test.each<[string, TypeOf, string]>([
    ['nobody knows', () => undefined, 'without'],
    ['is given a type that is no name', () => 'two words', 'no name'],
    ['is given an id that is none', () => ({ type: Placed.name, id: '' }), 'an id'],
    ['makes the function throw', () => JSON.parse('{') as string, 'typeOf threw'],
    ['is given nonsense', () => 7 as never, 'no name'],
  ])('that %s is a dead letter', async (_, typeOf, text) => {
    const { end } = await typed(typeOf)
    expect(end).toMatchObject({ kind: 'reject', reason: 'malformed' })
    expect((end as { error: Error }).error.message).toContain(text)
  })

  test('with a type is never asked about', async () => {
    const { ends } = await typed(() => JSON.parse('{') as string, { id: 'a', type: Placed.name })
    expect(ends).toEqual([{ kind: 'ack' }, { kind: 'ack' }])
  })
})

test('the names and values of attributes survive each binding', () => {
  expect(amqpAttribute('ce-specversion')).toBe('cloudEvents_specversion')
  expect(amqpAttribute('tenant')).toBe('tenant')
  for (const name of ['cloudEvents_id', 'cloudEvents:id', 'cloudevents:ID'])
    expect(fromAmqp(name)).toBe('ce-id')
  expect(fromAmqp('Tenant')).toBe('tenant')
  expect(percentEncoded('Euro € 😀 100% "x"')).toBe(
    'Euro%20%E2%82%AC%20%F0%9F%98%80%20100%25%20%22x%22',
  )
  expect(percentDecoded(percentEncoded('Euro € 😀 100% "x"'))).toBe('Euro € 😀 100% "x"')
  expect(percentDecoded('100%')).toBe('100%')
})

test.each([
  ['wireFormat', { wireFormat: {} }],
  ['wireFormat', { wireFormat: 'cloudevents' }],
  ['typeOf', { typeOf: 'orders.placed' }],
])('a %s that is none is refused', (field, options) => {
  expect(() => openShop(options as never)).toThrow(
    expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
  )
})

test.each(['', 'two words', 'a\nb', 7, undefined])('the source %o is refused', (source) => {
  expect(() => cloudEvents({ source: source as string })).toThrow(
    expect.objectContaining({ details: { field: 'cloudEvents.source' } }),
  )
})
