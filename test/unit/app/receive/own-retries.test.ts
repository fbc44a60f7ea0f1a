import { describe, expect, test } from 'vitest'
import { type RetryOptions, command, reject, retryLater } from '../../../../src/index.ts'
import { json } from '../../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const Other = command<{ id: number }>('orders.other')
const message = { type: Place.name, body: json({ id: 1 }) }

async function shopWith(
  retry: RetryOptions,
  fail: () => void = () => {
    throw new Error('no paper')
  },
  options: ShopOptions = {},
) {
  const errors: { readonly fields: object; readonly text: string }[] = []
  const ignore = (): void => {}
  const error = (fields: object, text: string): void => void errors.push({ fields, text })
  const logger = { debug: ignore, info: ignore, warn: ignore, error }
  const { app, transport } = openShop({ logger, ...options })
  let calls = 0
  const handler = (): void => {
    calls++
    fail()
  }
  app.handle(Place, handler, { retry })
  app.handle(Other, handler)
  await app.start()
  return {
    app,
    errors,
    calls: () => calls,
    deliver: (attempt = 1, type = Place) =>
      transport.deliver('shop', { ...message, type: type.name }, { attempt }),
    [Symbol.asyncDispose]: () => app.stop(),
  }
}

describe('the retries of a type', () => {
  test('end after maxAttempts tries, each a delivery; other types have those of the app', async () => {
    await using shop = await shopWith({ maxAttempts: 7 }, undefined, {
      receive: { maxDeliveries: 2, immediateRetries: 3 },
    })
    expect(await shop.deliver(6)).toMatchObject({ kind: 'retry', delayMs: 32_000 })
    expect(await shop.deliver(7)).toMatchObject({ kind: 'reject', reason: 'handler-failed' })
    expect(shop.calls()).toBe(2)
    expect(await shop.deliver(2, Other)).toMatchObject({ kind: 'reject' })
    expect(shop.calls()).toBe(6)
    expect(await shop.deliver(8)).toMatchObject({ kind: 'reject', reason: 'kills-handler' })
  })

  test('wait by a backoff, or by a function of the try and its error', async () => {
    const backoff = { firstMs: 10, longestMs: 40 }
    await using fixed = await shopWith({ backoff })
    expect(await fixed.deliver(3)).toMatchObject({ kind: 'retry', delayMs: 40 })
    const asked: unknown[] = []
    await using free = await shopWith(
      {
        backoff: (attempt, error) => {
          asked.push([attempt, (error as Error).message])
          return attempt * 5
        },
      },
      undefined,
      { receive: { immediateRetries: 1 } },
    )
    expect(await free.deliver(2)).toMatchObject({ kind: 'retry', delayMs: 20 })
    expect(asked).toEqual([[4, 'no paper']])
  })

  test('P4: are refused if the inbox forgets a message while it waits as the app does by default', () => {
    const { app } = openShop({
      receive: { backoff: { firstMs: 80_000_000, longestMs: 80_000_000 }, maxDeliveries: 2 },
      idempotency: { retentionMs: 700_000_000 },
    })
    const retry = { maxAttempts: 12, backoff: () => 1000 }
    expect(() => app.handle(Place, () => {}, { retry })).toThrowError(/idempotency.retentionMs/)
  })

  test('wait at most an hour', async () => {
    await using shop = await shopWith({ backoff: () => 1e12 })
    expect(await shop.deliver()).toMatchObject({ kind: 'retry', delayMs: 3_600_000 })
  })

  test('are none for an error that retryIf refuses', async () => {
    class OutOfStock extends Error {}
    const errors = [new OutOfStock('none left'), new Error('no paper')]
    await using shop = await shopWith(
      { retryIf: (error) => !(error instanceof OutOfStock) },
      () => {
        throw errors.shift()!
      },
      { receive: { immediateRetries: 5 } },
    )
    const end = await shop.deliver()
    expect(end).toMatchObject({ kind: 'reject', reason: 'handler-failed' })
    expect((end as { error: Error }).error.message).toContain('none left')
    expect(shop.calls()).toBe(1)
  })

  test('are not asked about what decides by itself', async () => {
    const retryIf = (): boolean => {
      throw new Error('asked')
    }
    await using later = await shopWith({ retryIf }, () => retryLater(70))
    expect(await later.deliver()).toMatchObject({ kind: 'retry', delayMs: 70 })
    await using never = await shopWith({ retryIf }, () => reject('no'))
    expect(await never.deliver()).toMatchObject({ kind: 'reject', reason: 'rejected' })
    expect(later.errors).toEqual([])
  })

  test.each<[string, RetryOptions]>([
    ['retryIf throws', { retryIf: () => JSON.parse('{') as boolean }],
    ['retryIf answers something else', { retryIf: () => 'no' as never }],
    ['backoff throws', { backoff: () => JSON.parse('{') as number }],
    ['backoff answers no number', { backoff: () => Number.NaN }],
    ['backoff answers a negative number', { backoff: () => -1 }],
    ['backoff answers null', { backoff: () => null as never }],
    ['backoff answers a text', { backoff: () => '5000000' as never }],
    ['backoff answers a promise', { backoff: (async () => 5) as never }],
  ])('are those of the app, with an error in the log, where %s', async (_, retry) => {
    await using shop = await shopWith(retry)
    expect(await shop.deliver(2)).toMatchObject({ kind: 'retry', delayMs: 2000 })
    expect(shop.errors.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^handle\('orders.place'\).retry.(retryIf|backoff) is of no use here/),
    ])
  })

  test.each([
    [{ maxAttempts: 0 }, 'maxAttempts'],
    [{ maxAttempts: 1.5 }, 'maxAttempts'],
    [{ maxAttempts: '5' }, 'maxAttempts'],
    [{ backoff: 5 }, 'backoff'],
    [{ backoff: { firstMs: -1 } }, 'backoff.firstMs'],
    [{ retryIf: true }, 'retryIf'],
  ])('given as %o are refused, naming %s', (retry, name) => {
    const { app } = openShop()
    const field = `handle('orders.place').retry.${name}`
    expect(() => app.handle(Place, () => {}, { retry: retry as never })).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
    )
  })

  test('that outlast the memory of the inbox are refused', () => {
    const { app } = openShop()
    const retry = { maxAttempts: 200, backoff: () => 1 }
    expect(() => app.handle(Place, () => {}, { retry })).toThrow('idempotency.retentionMs')
  })
})
