import { describe, expect, test } from 'vitest'
import { command, saga, type SagaContext } from '../../../../src/index.ts'
import type { MemoryTransaction } from '../../../../src/memory.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Start = command<{ key: string }>('orders.start')
const Order = saga<{ n: number }>('order')

describe('P3: what a saga asks for after it has handled its message', () => {
  test.each([
    ['timeout', ({ timeout }) => timeout('unpaid', { days: 1 })],
    ['cancelTimeout', ({ cancelTimeout }) => cancelTimeout('unpaid')],
    ['complete', ({ complete }) => complete()],
  ] satisfies [string, (context: SagaContext<MemoryTransaction>) => void][])(
    '%s throws: nobody would look at it',
    async (name, call) => {
      const { app, transport } = openShop()
      let context: SagaContext<MemoryTransaction> | undefined
      app.saga(Order, (on) => {
        on.start(
          Start,
          ({ key }) => key,
          (_, { key }, given) => {
            context = given
            if (key === 'fails') throw new Error('no paper')
            return { n: 1 }
          },
        )
        on.timeout('unpaid', () => {})
      })
      await app.start()
      for (const key of ['works', 'fails']) {
        await transport.deliver('shop', { type: Start.name, body: json({ key }) })
        expect(() => call(context!)).toThrow(
          expect.objectContaining({ code: 'MERSAL_UNIT_ENDED' }) as Error,
        )
        expect(() => call(context!)).toThrow(`${name}(`)
      }
      await app.stop()
    },
  )

  test('a timeout without a name is refused, and says what it got', async () => {
    const { app, transport } = openShop()
    app.saga(Order, (on) => {
      on.start(
        Start,
        ({ key }) => key,
        (_, __, { timeout }) => {
          timeout(undefined as never, { days: 1 })
          return { n: 1 }
        },
      )
    })
    await app.start()
    const end = await transport.deliver('shop', { type: Start.name, body: json({ key: 'a' }) })
    expect(end).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_INVALID_OPTIONS' } })
    await app.stop()
  })

  test('a duration of which nothing is known is refused, and does not end at once', async () => {
    const { app, transport } = openShop()
    app.saga(Order, (on) => {
      on.start(
        Start,
        ({ key }) => key,
        (_, __, { timeout }) => {
          timeout('unpaid', { days: undefined as never })
          return { n: 1 }
        },
      )
      on.timeout('unpaid', () => {})
    })
    await app.start()
    const end = await transport.deliver('shop', { type: Start.name, body: json({ key: 'a' }) })
    expect(end).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_INVALID_OPTIONS' } })
    await app.stop()
  })

  test('a message that is listed twice is refused', async () => {
    const { app } = openShop()
    const twice = (): void =>
      app.saga(Order, (on) => {
        on.start(
          Start,
          ({ key }) => key,
          () => ({ n: 1 }),
        )
        on(
          Start,
          ({ key }) => key,
          () => ({ n: 2 }),
        )
      })
    expect(twice).toThrow(expect.objectContaining({ code: 'MERSAL_DUPLICATE_HANDLER' }) as Error)
    await app.stop()
  })
})
