import { describe, expect, test } from 'vitest'
import { command } from '../../../../src/index.ts'
import { memoryStore } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const YEAR = 365 * 86_400_000

function setUp() {
  const clock = manualClock()
  const shop = openShop({ clock, change: () => memoryStore({ clock }) })
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
    const sending = send({ headers: { 'expires-at': 'now' } })
    await expect(sending).rejects.toMatchObject({ code: 'MERSAL_INVALID_MESSAGE' })
    await expect(sending).rejects.toThrow(/expires-at.*expiresInMs/)
  })

  test.each(['tomorrow', '5', '2027-01-01'])(
    'is not replaced by an outgoing step with %s, which is no such time',
    async (text) => {
      const { app } = openShop({
        outgoing: [
          {
            name: 'own end',
            run: (context, next) => {
              context.headers['expires-at'] = text
              return next()
            },
          },
        ],
      })
      const sending = app.transaction((_, { sendLocal }) => sendLocal(Place, { id: 1 }))
      await expect(sending).rejects.toMatchObject({
        code: 'MERSAL_INVALID_MESSAGE',
        details: { field: "headers['expires-at']" },
      })
    },
  )
})
