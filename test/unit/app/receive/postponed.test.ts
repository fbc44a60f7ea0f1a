import { describe, expect, test, vi } from 'vitest'
import { command, retryLater } from '../../../../src/index.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const DAY = 86_400_000
const message = { type: 'orders.place', body: json({ id: 1 }) }

describe('a handler that asks for its message again later', () => {
  test('is asked for seven days, and then the message becomes a dead letter that says so', async () => {
    const clock = manualClock()
    const { app, transport } = openShop({
      clock,
      idempotency: { retentionMs: 8 * DAY },
      receive: { maxDeliveries: 2 },
    })
    app.handle(Place, () => retryLater(DAY))
    await app.start()
    let since: number | undefined
    for (let day = 0; day < 7; day++) {
      const given = since === undefined ? {} : { postponedSince: since }
      const wish = await transport.deliver('shop', message, given)
      expect(wish).toMatchObject({ kind: 'retry', delayMs: DAY })
      since ??= wish.kind === 'retry' ? wish.postponedSince : undefined
      expect(wish).toMatchObject({ postponedSince: since })
      await clock.advance(DAY)
    }
    const end = await transport.deliver('shop', message, { postponedSince: since as number })
    expect(end).toMatchObject({ kind: 'reject', reason: 'postponed-too-long' })
    expect(String((end as { error: Error }).error)).toContain('receive.giveUpAfterMs')
    await app.stop()
  })

  test('gets it at the very end of its time if it asked for longer', async () => {
    const clock = manualClock()
    const { app, transport } = openShop({ clock, receive: { giveUpAfterMs: 10_000 } })
    app.handle(Place, () => retryLater(DAY))
    await app.start()
    expect(await transport.deliver('shop', message)).toMatchObject({
      kind: 'retry',
      delayMs: 10_000,
    })
    await app.stop()
  })

  test('logs no warning, and is an event of its own', async () => {
    const lines: string[] = []
    const note = (level: string) => (_: object, text: string) => void lines.push(`${level} ${text}`)
    const logger = { debug: () => {}, info: note('info'), warn: note('warn'), error: note('error') }
    const { app, transport } = openShop({ logger })
    app.handle(Place, () => retryLater(1000))
    await app.start()
    await transport.deliver('shop', message)
    expect(lines).toEqual([])
    await app.stop()
  })

  test('does not undo a shared transaction again and again', async () => {
    const { app, transport } = openShop({ receive: { concurrency: 10 } })
    const calls = vi.fn<(id: number) => void>()
    app.handle(
      Place,
      ({ id }) => {
        calls(id)
        if (id === 0) retryLater(1000)
      },
      { batch: 10 },
    )
    await app.start()
    const order = (id: number) => ({ type: 'orders.place', body: json({ id }) })
    const given = [
      transport.deliver('shop', order(0), { postponedSince: Date.now() }),
      ...[1, 2, 3].map((id) => transport.deliver('shop', order(id))),
    ]
    const ends = await Promise.all(given)
    expect(ends.map(({ kind }) => kind)).toEqual(['retry', 'ack', 'ack', 'ack'])
    expect(calls).toHaveBeenCalledTimes(4)
    await app.stop()
  })

  test('may ask no longer than the inbox remembers: a shorter retention bounds the default, and refuses a longer wish', () => {
    const { app } = openShop({ idempotency: { retentionMs: DAY } })
    expect(app.state).toBe('idle')
    expect(() =>
      openShop({ idempotency: { retentionMs: DAY }, receive: { giveUpAfterMs: 2 * DAY } }),
    ).toThrow(/idempotency\.retentionMs/)
    expect(() =>
      openShop({ idempotency: { retentionMs: 3 * DAY }, receive: { giveUpAfterMs: 2 * DAY } }),
    ).not.toThrow()
  })
})
