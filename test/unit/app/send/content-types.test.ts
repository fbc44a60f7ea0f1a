import { describe, expect, test } from 'vitest'
import { event } from '../../../../src/index.ts'
import { reads } from '../../../../src/app/send/content-type.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Placed = event<{ id: number }>('orders.placed')

describe('the content type of a message that arrives', () => {
  test.each([
    undefined,
    '',
    ' ',
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"; profile=x',
    'application/json; charset=us-ascii',
    'application/vnd.shop.order+json',
    'application/cloudevents+json; charset=utf-8',
    'text/json',
  ])('%s is read by a serializer of JSON', (given) =>
    expect(reads('application/json', given)).toBe(true),
  )

  test.each([
    'application/x-msgpack',
    'application/octet-stream',
    'text/plain',
    'application/json; charset=utf-16',
    'application/jsonl',
    'application/vnd.json+xml',
    'json',
    'application/',
    'application/json, application/x-msgpack',
    'nonsense',
  ])('%s is not', (given) => expect(reads('application/json', given)).toBe(false))

  test('other serializers read their own', () => {
    expect(reads('application/x-msgpack', 'application/msgpack')).toBe(true)
    expect(reads('application/x-msgpack', undefined)).toBe(true)
    expect(reads('application/x-msgpack', 'application/json')).toBe(false)
    expect(reads('application/vnd.shop+json', 'application/json')).toBe(true)
    expect(reads('opaque', 'opaque')).toBe(true)
  })

  test('that the app does not read makes it a dead letter at once, which names it and the remedies', async () => {
    const { app, transport } = openShop()
    let handled = 0
    app.handle(Placed, () => void handled++)
    await app.start()
    const deliver = (headers: Record<string, string>) =>
      transport.deliver('shop', { type: Placed.name, body: json({ id: 1 }), headers })
    const disposition = await deliver({ 'content-type': 'application/x-msgpack' })
    expect(disposition).toMatchObject({
      kind: 'reject',
      reason: 'undecodable',
      error: { code: 'MERSAL_DECODE' },
    })
    const { message } = (disposition as { error: Error }).error
    for (const part of ["'application/x-msgpack'", "'application/json'", "option 'serializer'"])
      expect(message).toContain(part)
    expect(await deliver({ 'content-type': 'application/vnd.x+json' })).toEqual({ kind: 'ack' })
    expect(await deliver({})).toEqual({ kind: 'ack' })
    expect(handled).toBe(2)
    await app.stop()
  })

  test('a message that no handler wants names how to take back the subscription of one that was removed', async () => {
    const { app, transport } = openShop()
    await app.start()
    const disposition = await transport.deliver('shop', { type: 'orders.gone', body: json({}) })
    expect(disposition).toMatchObject({ kind: 'reject', reason: 'unknown-type' })
    expect((disposition as { error: Error }).error.message).toContain('app.unsubscribe(type)')
    await app.stop()
  })
})
