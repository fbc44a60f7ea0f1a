import { describe, expect, test } from 'vitest'
import { command } from '../../../../src/index.ts'
import { memoryStore } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const ID = '0A1B2C3D-0000-4000-8000-0123456789AB'
const hour = 3_600_000

function setUp() {
  const clock = manualClock()
  const shop = openShop({ clock, change: () => memoryStore({ clock }) })
  const send = (options: object) =>
    shop.app.transaction((_, { sendLocal }) => sendLocal(Place, { id: 1 }, options))
  return { ...shop, clock, send }
}

describe('an id of the sender', () => {
  test('is the id of the message, in lower case', async () => {
    const { send, rows } = setUp()
    expect(await send({ id: ID })).toBe(ID.toLowerCase())
    expect((await rows()).map(({ id }) => id)).toEqual([ID.toLowerCase()])
  })

  test.each([
    ['text', 'order-1'],
    ['a number', 7],
    ['nothing', ''],
    ['null', null],
  ])('is refused if it is %s, and names the field', async (_, id) => {
    const { send } = setUp()
    await expect(send({ id })).rejects.toMatchObject({
      code: 'MERSAL_INVALID_MESSAGE',
      details: { field: 'id' },
    })
  })
})

describe('a time to be sent at', () => {
  test('holds the message back until then, and no longer', async () => {
    const { send, rows, clock } = setUp()
    await send({ at: new Date(clock.now() + hour) })
    await clock.advance(hour - 1)
    expect(await rows()).toEqual([])
    await clock.advance(1)
    expect(await rows()).toHaveLength(1)
  })

  test('that has passed is now', async () => {
    const { send, rows, clock } = setUp()
    await send({ at: new Date(clock.now() - hour) })
    expect(await rows()).toHaveLength(1)
  })

  test.each([
    ['no date', 'tomorrow'],
    ['a number', 5],
    ['an invalid date', new Date('no')],
    ['too far ahead', new Date('2127-01-01')],
  ])('is refused if it is %s, and names the field', async (_, at) => {
    const { send } = setUp()
    await expect(send({ at })).rejects.toMatchObject({
      code: 'MERSAL_INVALID_MESSAGE',
      details: { field: 'at' },
    })
  })

  test('beside a delay is refused', async () => {
    const { send } = setUp()
    await expect(send({ at: new Date(), delayMs: 5 })).rejects.toThrow('either at or delayMs')
  })

  test('needs an outbox', async () => {
    const { app, clock } = setUp()
    const direct = app.direct.sendLocal(Place, { id: 1 }, { at: new Date(clock.now() + hour) })
    await expect(direct).rejects.toThrow('only the outbox can delay a message')
  })
})
