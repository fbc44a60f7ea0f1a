import { describe, expect, test, vi } from 'vitest'
import { command, Mersal } from '../../../../src/index.ts'
import { memoryStore } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { fakeTransport, json } from '../../support/fake-transport.ts'
import { openShop, type ShopOptions } from '../../support/shop.ts'

const Remind = command<{ id: number }>('orders.remind')
const read = (body: Uint8Array): unknown => JSON.parse(Buffer.from(body).toString())
const NOBODY = '01900000-0000-7000-8000-000000000000'
const hour = 3_600_000

function setUp(options: ShopOptions = {}) {
  const clock = manualClock()
  const shop = openShop({ clock, change: () => memoryStore({ clock }), ...options })
  const remind = (id: number, more: object = {}) =>
    shop.app.transaction((_, { sendLocal }) =>
      sendLocal(Remind, { id }, { delayMs: hour, ...more }),
    )
  const left = async () => {
    await clock.advance(hour)
    return (await shop.rows()).map(({ body }) => read(body))
  }
  return { ...shop, clock, remind, left }
}

describe('a delayed message', () => {
  test('P1: is taken back with the commit, and by none that is rolled back', async () => {
    const { app, remind, left } = setUp()
    const ids = [await remind(1), await remind(2)]
    const failing = app.transaction(async (_, { cancel }) => {
      expect(await cancel(ids[0] ?? '')).toBe('cancelled')
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    const answer = await app.transaction((_, { cancel }) => cancel((ids[1] ?? '').toUpperCase()))
    expect(answer).toBe('cancelled')
    expect(await left()).toEqual([{ id: 1 }])
  })

  test('of the same transaction is not written at all', async () => {
    const { app, left, store } = setUp()
    await app.transaction(async (_, { sendLocal, cancel }) => {
      const id = await sendLocal(Remind, { id: 1 }, { delayMs: hour })
      expect([await cancel(id), await cancel(id)]).toEqual(['cancelled', 'cancelled'])
      await sendLocal(Remind, { id: 2 }, { delayMs: hour })
    })
    expect((await store.admin.stats()).pending).toBe(1)
    expect(await left()).toEqual([{ id: 2 }])
  })

  test('stays if the savepoint in which it was cancelled is rolled back', async () => {
    const { app, remind, left } = setUp()
    const stored = await remind(1)
    await app.transaction(async (_, { sendLocal, cancel, savepoint }) => {
      const own = await sendLocal(Remind, { id: 2 }, { delayMs: hour })
      const undone = savepoint(async () => {
        expect([await cancel(stored), await cancel(own)]).toEqual(['cancelled', 'cancelled'])
        throw new Error('no')
      })
      await expect(undone).rejects.toThrow('no')
      const dropped = await sendLocal(Remind, { id: 3 }, { delayMs: hour })
      await savepoint(async () => expect(await cancel(dropped)).toBe('cancelled'))
    })
    expect(await left()).toEqual([{ id: 1 }, { id: 2 }])
  })

  test('is taken back by app.cancel, in a handler, and in a transaction of somebody else', async () => {
    const Cancel = command<{ ids: string[] }>('orders.cancel')
    const { app, store, remind, left, transport } = setUp()
    app.handle(Remind, () => {})
    app.handle(Cancel, async ({ ids: [first = '', second = ''] }, { cancel }) => {
      expect([await cancel(first), await app.cancel(second)]).toEqual(['cancelled', 'cancelled'])
    })
    const ids = [await remind(1), await remind(2), await remind(3), await remind(4)]
    await app.start()
    const given = { type: Cancel.name, body: json({ ids }) }
    expect(await transport.deliver('shop', given)).toMatchObject({ kind: 'ack' })
    await store.unitOfWork(async (tx) => {
      expect(await app.within(tx).cancel(ids[2] ?? '')).toBe('cancelled')
    })
    expect(await left()).toEqual([{ id: 4 }])
    await app.stop()
  })

  test('without a delay, of nobody, or in the hands of a relay is not taken back', async () => {
    const { app, store, clock, remind } = setUp()
    const cancel = (id: string) => app.transaction((_, sender) => sender.cancel(id))
    expect(await cancel(await remind(1, { delayMs: 0 }))).toBe('unknown')
    expect(await cancel(NOBODY)).toBe('unknown')
    const taken = await remind(2)
    await clock.advance(hour)
    await store.outbox.claim({ limit: 10, claimMs: 1000, token: 'relay' })
    expect(await cancel(taken)).toBe('gone')
    const own = app.transaction(async (_, { sendLocal, cancel: cancelHere }) =>
      cancelHere(await sendLocal(Remind, { id: 3 })),
    )
    expect(await own).toBe('unknown')
  })

  test('P5: that is taken back lets later messages of its key go with the commit', async () => {
    const transport = fakeTransport()
    const store = memoryStore()
    const app = new Mersal({
      name: 'shop',
      store,
      transport,
      logger: false,
      outbox: { relay: { pollIntervalMs: 60_000 } },
    })
    app.handle(Remind, () => {})
    await app.start()
    const options = { partitionKey: 'k' }
    const first = await app.transaction(async (_, { sendLocal }) => {
      const id = await sendLocal(Remind, { id: 1 }, { ...options, delayMs: hour })
      await sendLocal(Remind, { id: 2 }, options)
      return id
    })
    expect(transport.published).toEqual([])
    await app.transaction((_, { cancel }) => cancel(first))
    await vi.waitFor(() =>
      expect(transport.published.map(({ body }) => read(body))).toEqual([{ id: 2 }]),
    )
    await app.stop()
  })
})

describe('a cancel', () => {
  test.each([
    ['text', 'order-1'],
    ['nothing', ''],
    ['a number', 7],
    ['undefined', undefined],
  ])('of %s is refused, names the field, and fails its unit', async (_what, id) => {
    const { app, remind, left } = setUp()
    await remind(1)
    const refused = { code: 'MERSAL_INVALID_MESSAGE', details: { field: 'id' } }
    const swallowing = app.transaction(async (_, { cancel }) => {
      await expect(cancel(id as string)).rejects.toMatchObject(refused)
    })
    await expect(swallowing).rejects.toMatchObject({ code: 'MERSAL_ROLLED_BACK' })
    const within = app.transaction(async (tx) => {
      await expect(app.within(tx).cancel(id as string)).rejects.toMatchObject(refused)
    })
    await expect(within).rejects.toMatchObject({ code: 'MERSAL_ROLLED_BACK' })
    expect(await left()).toEqual([{ id: 1 }])
  })

  test('P3: outside of any transaction, after its unit, and in an app without an outbox is refused', async () => {
    const { app } = setUp()
    await expect(app.cancel(NOBODY)).rejects.toMatchObject({ code: 'MERSAL_NO_TRANSACTION' })
    const late = await app.transaction(
      async (_, { cancel }) =>
        () =>
          cancel(NOBODY),
    )
    await expect(late()).rejects.toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    const plain = new Mersal({ name: 'plain', transport: fakeTransport(), logger: false })
    await expect(plain.cancel(NOBODY)).rejects.toMatchObject({ code: 'MERSAL_NO_TRANSACTION' })
    await app.stop()
    await expect(app.cancel(NOBODY)).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
  })

  test('P3: that is not awaited fails its unit', async () => {
    const { app, remind, left } = setUp()
    const id = await remind(1)
    const unit = app.transaction(async (_, { cancel }) => void cancel(id))
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_NOT_AWAITED' })
    expect(await left()).toEqual([{ id: 1 }])
  })

  test('P3: of within() that fails and is not awaited is logged, and does not end the process', async () => {
    const error = vi.fn()
    const silent = () => {}
    const logger = { debug: silent, info: silent, warn: silent, error }
    const unhandled = vi.fn()
    process.once('unhandledRejection', unhandled)
    const store = memoryStore()
    const app = new Mersal({ name: 'plain', store, transport: fakeTransport(), logger })
    const ended = await store.unitOfWork(async (tx) => tx)
    void app.within(ended).cancel(NOBODY)
    const facts = { code: 'MERSAL_NOT_AWAITED', call: 'cancel()' }
    await vi.waitFor(() =>
      expect(error).toHaveBeenCalledWith(
        expect.objectContaining(facts),
        expect.stringContaining('nobody awaited it'),
      ),
    )
    process.removeListener('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  })

  test('is refused where the outbox cannot take anything back', async () => {
    const { app } = setUp({
      change: (store) => {
        const { waiting: _, ...outbox } = store.outbox
        return { ...store, outbox }
      },
    })
    const unit = app.transaction((_, { cancel }) => cancel(NOBODY))
    await expect(unit).rejects.toThrow('cannot take messages back')
  })
})
