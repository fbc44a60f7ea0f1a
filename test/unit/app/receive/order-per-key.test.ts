import { describe, expect, test } from 'vitest'
import { command, Mersal } from '../../../../src/index.ts'
import { memoryStore } from '../../../../src/stores/memory.ts'
import { memoryTransport } from '../../../../src/transports/memory.ts'
import { openShop } from '../../support/shop.ts'

const Move = command<{ account: string; number: number }>('accounts.move')

describe('receive.orderPerKey', () => {
  test('is refused by name on a transport that cannot keep the order', async () => {
    const { app } = openShop({ receive: { orderPerKey: true } })
    app.handle(Move, () => {})
    await expect(app.start()).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'receive.orderPerKey' },
      message: expect.stringContaining("the transport 'default' cannot keep the order"),
    })
    await app.stop()
  })

  test('takes only true and false', () => {
    const receive = { orderPerKey: 'yes' as unknown as boolean }
    expect(() => openShop({ receive })).toThrow(/receive\.orderPerKey: expected true or false/)
  })

  test('handles the messages of a key one after the other, whatever fails in between', async () => {
    const seen: string[] = []
    const running = new Map<string, number>()
    let most = 0
    await using app = new Mersal({
      name: 'ledger',
      store: memoryStore(),
      transport: memoryTransport(),
      receive: { orderPerKey: true, backoff: { firstMs: 5, longestMs: 5 }, immediateRetries: 0 },
      logger: false,
    })
    const done = Promise.withResolvers<void>()
    app.handle(Move, async ({ account, number }, { attempt }) => {
      const now = (running.get(account) ?? 0) + 1
      running.set(account, now)
      most = Math.max(most, now)
      await new Promise(setImmediate)
      running.set(account, now - 1)
      if (number % 3 === 0 && attempt === 1) throw new Error('the first try fails')
      seen.push(`${account}${number}`)
      if (seen.length === 40) done.resolve()
    })
    await app.start()
    await app.transaction(async (_, { send }) => {
      for (let number = 0; number < 10; number++)
        for (const account of ['a', 'b', 'c', 'd'])
          await send(Move, { account, number }, { partitionKey: account })
    })
    await done.promise
    for (const account of ['a', 'b', 'c', 'd'])
      expect(seen.filter((text) => text.startsWith(account))).toEqual(
        Array.from({ length: 10 }, (_, number) => `${account}${number}`),
      )
    expect(most).toBe(1)
  })
})
