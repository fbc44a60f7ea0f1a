import { Packr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import {
  Mersal,
  type MersalOptions,
  type Serializer,
  event,
  jsonSerializer,
} from '../../../../src/index.ts'
import { memoryTransport } from '../../../../src/memory.ts'
import { capture } from '../../../../src/testing/index.ts'
import { openShop } from '../../support/shop.ts'

const packr = new Packr({ useRecords: false })
const msgpack: Serializer = {
  contentType: 'application/msgpack',
  encode: (value) => packr.pack(value),
  decode: (body) => packr.unpack(body) as unknown,
}
const text: Serializer = {
  contentType: 'text/plain',
  encode: (value) => Buffer.from(String(value)),
  decode: (body) => Buffer.from(body).toString(),
}

const Placed = event<{ at: Date }>('orders.placed')
const Packed = event<{ at: Date }>('orders.packed', undefined, {
  contentType: 'application/msgpack',
})
const at = new Date('2026-01-02T03:04:05.678Z')

describe('serializers', () => {
  test('write what their type says, or the first one does', async () => {
    const { app, rows } = openShop({ serializers: [jsonSerializer, msgpack], checkBodies: 'never' })
    await app.transaction(async (_, { publish }) => {
      await publish(Placed, { at })
      await publish(Packed, { at })
    })
    const [placed, packed] = await rows()
    expect(placed?.headers['content-type']).toBe('application/json')
    expect(JSON.parse(Buffer.from(placed!.body).toString())).toEqual({ at: at.toISOString() })
    expect(packed?.headers['content-type']).toBe('application/msgpack')
    expect(packr.unpack(packed!.body)).toEqual({ at })
    await app.stop()
  })

  test('are each asked whether a body survives: a Date does with msgpack', async () => {
    const { app } = openShop({ serializers: [jsonSerializer, msgpack], checkBodies: 'always' })
    await app.transaction((_, { publish }) => publish(Packed, { at }))
    const asJson = app.transaction((_, { publish }) => publish(Placed, { at }))
    await expect(asJson).rejects.toMatchObject({ code: 'MERSAL_INVALID_BODY' })
    await app.stop()
  })

  test('read by the content type of the message, or by the type if it names none', async () => {
    const { app, transport } = openShop({ serializers: [text, msgpack, jsonSerializer] })
    const seen: unknown[] = []
    app.handle(Placed, (body) => void seen.push(body))
    app.handle(Packed, (body) => void seen.push(body))
    await app.start()
    const deliver = (type: string, body: Uint8Array, contentType?: string) =>
      transport.deliver('shop', {
        type,
        body,
        headers: contentType === undefined ? {} : { 'content-type': contentType },
      })
    const packed = packr.pack({ at })
    await deliver(Placed.name, packed, 'application/msgpack')
    await deliver(Placed.name, packed, 'application/x-msgpack')
    await deliver(Placed.name, Buffer.from('{"n":1}'), 'application/vnd.shop+json')
    await deliver(Placed.name, Buffer.from('plain'))
    await deliver(Packed.name, packed)
    expect(seen).toEqual([{ at }, { at }, { n: 1 }, 'plain', { at }])
    await app.stop()
  })

  test('that do not read a message make a dead letter that names both', async () => {
    const { app, transport } = openShop({ serializers: [msgpack, jsonSerializer] })
    app.handle(Placed, () => {})
    await app.start()
    const end = await transport.deliver('shop', {
      type: Placed.name,
      body: Buffer.from('<a/>'),
      headers: { 'content-type': 'application/xml' },
    })
    expect(end).toMatchObject({ kind: 'reject', reason: 'undecodable' })
    const { message } = (end as { error: Error }).error
    for (const part of ["'application/xml'", "'application/msgpack', 'application/json'"])
      expect(message).toContain(part)
    await app.stop()
  })

  test('that cannot write a type are named by the failed send', async () => {
    const { app, rows } = openShop({ serializers: [jsonSerializer, text] })
    const send = app.transaction((_, { publish }) => publish(Packed, { at }))
    await expect(send).rejects.toMatchObject({
      code: 'MERSAL_ENCODE',
      message: expect.stringMatching(/application\/msgpack.*'application\/json', 'text\/plain'/),
    })
    expect(await rows()).toEqual([])
    await app.stop()
  })

  test('show what would be sent', async () => {
    const { app } = openShop({ serializers: [jsonSerializer, msgpack] })
    const sent = await capture(app).transaction((_, { publish }) => publish(Packed, { at }))
    expect(sent.map(({ body }) => body)).toEqual([{ at }])
    await app.stop()
  })

  test.each([
    [{ serializers: [] }, 'serializers'],
    [{ serializers: jsonSerializer }, 'serializers'],
    [{ serializers: [jsonSerializer], serializer: msgpack }, 'serializers'],
    [{ serializers: [msgpack, { contentType: 'x/y' }] }, 'serializers[1]'],
    [{ serializers: [{ ...msgpack, contentType: '\n' }] }, 'serializers[0].contentType'],
    [{ serializers: [msgpack, { ...msgpack }] }, 'serializers[1].contentType'],
  ])('given as %o are refused, naming %s', (options, field) => {
    const given = options as unknown as Partial<MersalOptions<undefined>>
    expect(() => new Mersal({ name: 'shop', transport: memoryTransport(), ...given })).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
    )
  })
})
