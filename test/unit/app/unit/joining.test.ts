import { describe, expect, test } from 'vitest'
import { type Sender, command, event } from '../../../../src/index.ts'
import { capture } from '../../../../src/testing/index.ts'
import { rejection } from '../../support/errors.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')

describe('the option join of transaction()', () => {
  test('refuses the sender of a unit that has ended, however it ended', async () => {
    const { app, rows } = openShop()
    let [committed, failed]: (Sender | undefined)[] = []
    await app.transaction(async (_, sender) => void (committed = sender))
    const failing = app.transaction(async (_, sender) => {
      failed = sender
      throw new Error('failed')
    })
    await failing.catch(() => {})
    for (const join of [committed!, failed!]) {
      await rejection(
        app.transaction((_, { publish }) => publish(Placed, { id: 1 }), { join }),
        'MERSAL_UNIT_ENDED',
      )
    }
    expect(await rows()).toEqual([])
  })

  test('refuses what is no evidence: the app, a copy, the sender of another app or of a foreign transaction, any value', async () => {
    const { app, store } = openShop()
    const other = openShop()
    await other.app.transaction(async (_otherTx, stranger) =>
      app.transaction(async (_, sender) => {
        const foreign = await store.unitOfWork(async (tx) => app.within(tx))
        for (const join of [
          app,
          app.direct,
          { ...sender },
          stranger,
          foreign,
          true,
          null,
          'sender',
          {},
        ]) {
          const error = await rejection(
            app.transaction(async () => {}, { join: join as Sender }),
            'MERSAL_INVALID_OPTIONS',
          )
          expect(error.details['field']).toBe('transaction().join')
        }
      }),
    )
    await Promise.all([app.stop(), other.app.stop()])
  })

  test('takes every sender of the unit: of a joined callback, of within(tx), of a handler', async () => {
    const { app, transport, rows } = openShop()
    const send = (id: number) => (_: unknown, sender: Sender) => sender.publish(Placed, { id })
    app.handle(
      Place,
      async ({ id }, context) => void (await app.transaction(send(id), { join: context })),
    )
    await app.start()
    await app.transaction(async (tx, outer) => {
      await app.transaction((_, inner) => app.transaction(send(1), { join: inner }), {
        join: outer,
      })
      await app.transaction(send(2), { join: app.within(tx) })
    })
    expect(
      await transport.deliver('shop', { type: 'orders.place', body: json({ id: 3 }) }),
    ).toEqual({ kind: 'ack' })
    expect(await rows()).toHaveLength(3)
    await app.stop()
  })

  test('a joined callback sends by app.publish() into the unit that it has joined, whatever context it runs in', async () => {
    const { app, rows } = openShop()
    const [joined, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    await app.transaction(async (_, sender) => {
      const other = app.transaction(
        async () => {
          await app.transaction(() => app.publish(Placed, { id: 1 }), { join: sender })
          joined.resolve()
          await ended.promise
          throw new Error('the one around it fails')
        },
        { join: false },
      )
      await joined.promise
      ended.resolve()
      await expect(other).rejects.toThrow('the one around it fails')
    })
    expect(await rows()).toHaveLength(1)
  })

  test('a joined callback that ends after its unit does not resolve: nothing of it was committed', async () => {
    const { app } = openShop()
    const goOn = Promise.withResolvers<void>()
    let joined: Promise<unknown> | undefined
    const unit = app.transaction(async (_, sender) => {
      joined = app.transaction(() => goOn.promise, { join: sender })
    })
    await rejection(unit, 'MERSAL_NOT_AWAITED')
    goOn.resolve()
    await rejection(joined!, 'MERSAL_UNIT_ENDED')
  })

  test('a handler that shares its transaction can be joined, for itself alone', async () => {
    const { app, transport, rows } = openShop()
    app.handle(
      Place,
      async ({ id }, context) => {
        await app.transaction((_, { publish }) => publish(Placed, { id }), { join: context })
        if (id === 2 && context.attempt === 1) throw new Error('fails once')
      },
      { batch: 10 },
    )
    await app.start()
    const place = (id: number) =>
      transport.deliver('shop', { id: `m${id}`, type: 'orders.place', body: json({ id }) })
    const dispositions = await Promise.all([1, 2, 3].map(place))
    expect(dispositions.map(({ kind }) => kind)).toEqual(['ack', 'retry', 'ack'])
    expect((await rows()).map(({ headers }) => headers['causation-id'])).toEqual(
      expect.arrayContaining(['m1', 'm3']),
    )
    await app.stop()
  })
})

describe('contexts that outlive or carry a unit', () => {
  test('a timer that was set inside a unit opens a transaction of its own, without a warning, and cannot send by app.publish()', async () => {
    const warnings: string[] = []
    const ignore = (): void => {}
    const logger = {
      debug: ignore,
      info: ignore,
      error: ignore,
      warn: (_: object, text: string) => void warnings.push(text),
    }
    const { app, rows } = openShop({ logger })
    const later = Promise.withResolvers<void>()
    let timer: Promise<void> | undefined
    await app.transaction(async () => {
      timer = later.promise.then(async () => {
        await rejection(app.publish(Placed, { id: 1 }), 'MERSAL_UNIT_ENDED')
        await app.transaction((_, { publish }) => publish(Placed, { id: 2 }))
      })
    })
    later.resolve()
    await timer
    expect(await rows()).toHaveLength(1)
    expect(warnings).toEqual([])
  })

  test('with ambientSends: false the app itself never sends into the transaction around it', async () => {
    const { app, transport, rows } = openShop({ ambientSends: false })
    app.handle(Place, async (_, { publish }) => {
      await rejection(app.publish(Placed, { id: 1 }), 'MERSAL_NO_TRANSACTION')
      await publish(Placed, { id: 2 })
    })
    await app.start()
    expect(
      await transport.deliver('shop', { type: 'orders.place', body: json({ id: 1 }) }),
    ).toEqual({ kind: 'ack' })
    await app.transaction(async (_, { publish }) => {
      await rejection(app.publish(Placed, { id: 3 }), 'MERSAL_NO_TRANSACTION')
      await publish(Placed, { id: 4 })
    })
    expect(await rows()).toHaveLength(2)
    await app.stop()
  })

  test('inside capture() a transaction of its own is refused, since it would be committed; a joined one is captured', async () => {
    const { app, rows } = openShop()
    const send = (_: unknown, { publish }: Sender) => publish(Placed, { id: 1 })
    await rejection(
      capture(app).transaction(() => app.transaction(send, { join: false })),
      'MERSAL_INVALID_OPTIONS',
    )
    expect(
      await capture(app).transaction((_, join) => app.transaction(send, { join })),
    ).toHaveLength(1)
    expect(await rows()).toEqual([])
  })
})
