import { describe, expect, test } from 'vitest'
import { command, event, saga, type SagaContext } from '../../../src/index.ts'
import { rehearse } from '../../../src/testing/index.ts'

const Place = command<{ key: string }>('orders.place')
const Ship = command('orders.ship')
const Placed = event('orders.placed')
const Order = saga<{ n: number }>('order')

type Context = SagaContext<unknown>
type React = (
  state: { readonly n: number } | undefined,
  context: Context,
) => { n: number } | Promise<{ n: number }>

const rehearsal = (react: React) =>
  rehearse(Order, (on) => {
    on.start(
      Place,
      ({ key }) => key,
      (state, _, context) => react(state, context),
    )
    on.timeout('tick', () => {})
  })

const sending = (send: (context: Context) => unknown) =>
  rehearsal(async (_, context) => {
    await send(context)
    return { n: 1 }
  })

describe('a rehearsal refuses what an app refuses', () => {
  test.each<[string, string, (context: Context) => unknown]>([
    [
      'an unknown option',
      'MERSAL_INVALID_OPTIONS',
      ({ send }) => send(Ship, 1, { delay: 5 } as never),
    ],
    ['a delay', 'MERSAL_INVALID_MESSAGE', ({ send }) => send(Ship, 1, { delayMs: -1 })],
    ['a key', 'MERSAL_INVALID_MESSAGE', ({ send }) => send(Ship, 1, { partitionKey: '' })],
    [
      'a header',
      'MERSAL_INVALID_MESSAGE',
      ({ send }) => send(Ship, 1, { headers: { a: 1 } as never }),
    ],
    ['an address', 'MERSAL_INVALID_MESSAGE', ({ send }) => send(Ship, 1, { to: 'a b' })],
    ['an id', 'MERSAL_INVALID_MESSAGE', ({ publish }) => publish(Placed, 1, { id: '7' })],
    ['a kind', 'MERSAL_INVALID_MESSAGE', ({ publish }) => publish(Ship as never, 1)],
    ['a body', 'MERSAL_ENCODE', ({ send }) => send(Ship, 1n)],
    ['a reply', 'MERSAL_INVALID_BODY', ({ reply }) => reply({ at: new Date() })],
  ])('%s of a send: %s, also if that is caught', async (_, code, send) => {
    const message = { key: 'o-1' }
    for (const order of [
      sending(send),
      sending((context) => (send(context) as Promise<unknown>).catch(() => {})),
    ]) {
      const error = (await order.receives(Place, message).catch((thrown: unknown) => thrown)) as {
        code: string
        cause?: { code: string }
      }
      expect(error.code === 'MERSAL_ROLLED_BACK' ? error.cause?.code : error.code).toBe(code)
      expect(await order.state('o-1')).toBeUndefined()
    }
  })

  test('P3: a send that nobody awaits', async () => {
    const order = rehearsal((_, { send }) => {
      void send(Ship, 1)
      return { n: 1 }
    })
    await expect(order.receives(Place, { key: 'o-1' })).rejects.toMatchObject({
      code: 'MERSAL_NOT_AWAITED',
    })
    expect(await order.state('o-1')).toBeUndefined()
  })

  test('what is no saga, and a message that is listed twice', () => {
    const list = (): void => {}
    expect(() => rehearse(undefined as never, list)).toThrow(/expected a saga/)
    expect(() =>
      rehearse(Order, (on) => {
        on.start(
          Place,
          ({ key }) => key,
          () => ({ n: 1 }),
        )
        on(
          Place,
          ({ key }) => key,
          () => ({ n: 2 }),
        )
      }),
    ).toThrow(expect.objectContaining({ code: 'MERSAL_DUPLICATE_HANDLER' }) as Error)
  })
})

describe('a rehearsal', () => {
  test('resolves a send to the id that it was given', async () => {
    const id = crypto.randomUUID()
    let resolved: unknown
    const order = sending(async ({ send }) => (resolved = await send(Ship, 1, { id })))
    expect(await order.receives(Place, { key: 'o-1' })).toEqual([
      { kind: 'send', type: Ship.name, body: 1, options: { id } },
    ])
    expect(resolved).toBe(id)
  })

  test('handles messages one after the other, also those that are given at the same time', async () => {
    const order = rehearsal(async (state) => {
      await new Promise(setImmediate)
      return { n: (state?.n ?? 0) + 1 }
    })
    await Promise.all([1, 2, 3].map(() => order.receives(Place, { key: 'o-1' })))
    expect(await order.state('o-1')).toEqual({ n: 3 })
  })

  test('ends when timeouts fire for ever without any time between them', async () => {
    const endless = rehearse(Order, (on) => {
      on.start(
        Place,
        ({ key }) => key,
        (_, __, { timeout }) => {
          timeout('tick', { milliseconds: 0 })
          return { n: 1 }
        },
      )
      on.timeout('tick', (_, { timeout }) => timeout('tick', { milliseconds: 0 }))
    })
    await endless.receives(Place, { key: 'o-1' })
    await expect(endless.passes({ days: 1 })).rejects.toThrow('without any time between them')
  })
})
