import { describe, expect, test } from 'vitest'
import { command } from '../../../../src/index.ts'
import { memoryStore } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const YEAR = 365 * 86_400_000

function setUp(receive: object = {}) {
  const clock = manualClock()
  const shop = openShop({ clock, receive, change: () => memoryStore({ clock }) })
  const send = (options: object) =>
    shop.app.transaction((_, { sendLocal }) => sendLocal(Place, { id: 1 }, options))
  return { ...shop, clock, send }
}

describe('expiresInMs', () => {
  test('travels as the time in a header', async () => {
    const { send, rows, clock } = setUp()
    await send({ expiresInMs: 1500 })
    await send({})
    const [first, second] = await rows()
    expect(first?.headers['expires-at']).toBe(new Date(clock.now() + 1500).toISOString())
    expect(second?.headers['expires-at']).toBeUndefined()
  })

  test.each([
    ['nothing', 0],
    ['negative', -1],
    ['no number', Number.NaN],
    ['endless', Number.POSITIVE_INFINITY],
    ['more than a year', YEAR + 1],
    ['text', '1000'],
    ['null', null],
  ])('is refused if it is %s, and names the field', async (_, expiresInMs) => {
    const { send, rows } = setUp()
    await expect(send({ expiresInMs })).rejects.toMatchObject({
      code: 'MERSAL_INVALID_MESSAGE',
      details: { field: 'expiresInMs' },
    })
    expect(await rows()).toEqual([])
  })

  test.each([
    ['as long as', { delayMs: 1000, expiresInMs: 1000 }],
    ['shorter than', { delayMs: 1000, expiresInMs: 999 }],
  ])('%s the delay is refused, and says why', async (_, options) => {
    const { send, clock } = setUp()
    await expect(send(options)).rejects.toThrow(/expiresInMs: .*before it may leave/)
    const { delayMs, expiresInMs } = options
    const at = new Date(clock.now() + delayMs)
    await expect(send({ at, expiresInMs })).rejects.toThrow(/expiresInMs/)
  })

  test('may not be set as a header by hand', async () => {
    const { send } = setUp()
    await expect(send({ headers: { 'expires-at': 'now' } })).rejects.toMatchObject({
      code: 'MERSAL_INVALID_MESSAGE',
    })
  })
})

describe('a message that arrives', () => {
  const incoming = (at: number) => ({
    type: 'orders.place',
    body: json({ id: 1 }),
    headers: { 'expires-at': new Date(at).toISOString() },
  })

  async function receive(onExpired: object, lateMs: number) {
    const { app, transport, clock } = setUp(onExpired)
    const handled: number[] = []
    app.handle(Place, ({ id }) => void handled.push(id))
    await app.start()
    const disposition = await transport.deliver('shop', incoming(clock.now() - lateMs))
    await app.stop()
    return { handled, disposition }
  }

  test('before its end is handled', async () => {
    const { handled, disposition } = await receive({}, -1)
    expect(handled).toEqual([1])
    expect(disposition).toEqual({ kind: 'ack' })
  })

  test('at its end or later reaches no handler', async () => {
    for (const lateMs of [0, 1000]) {
      const { handled, disposition } = await receive({}, lateMs)
      expect(handled).toEqual([])
      expect(disposition).toEqual({ kind: 'ack' })
    }
  })

  test('too late becomes a dead letter if so wished', async () => {
    const { handled, disposition } = await receive({ onExpired: 'dead-letter' }, 1)
    expect(handled).toEqual([])
    expect(disposition).toMatchObject({
      kind: 'reject',
      reason: 'expired',
      error: { code: 'MERSAL_EXPIRED' },
    })
  })

  test('onExpired of another name is refused at once', () => {
    expect(() => setUp({ onExpired: 'drop' })).toThrow(/receive\.onExpired/)
  })
})
