import { describe, expect, test, vi } from 'vitest'
import { command, event, Mersal } from '../../../../src/index.ts'
import { memoryStore } from '../../../../src/memory.ts'
import { fakeTransport, json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')

describe('afterCommit', () => {
  test('P13: runs after the commit, before transaction() resolves, and in no transaction', async () => {
    const { app, data } = openShop()
    const seen: unknown[] = []
    await app.transaction(async (tx, { afterCommit }) => {
      tx.set('a', 1)
      afterCommit(() => seen.push('ran'))
      afterCommit(async () => {
        seen.push(await data())
        seen.push(
          await app.publish(Placed, { id: 1 }).catch((error: { code: string }) => error.code),
        )
      })
      expect(seen).toEqual([])
    })
    expect(seen[0]).toBe('ran')
    await vi.waitFor(() => expect(seen).toEqual(['ran', ['a'], 'MERSAL_NO_TRANSACTION']))
    await app.stop()
  })

  test('P13: never runs if the transaction is rolled back', async () => {
    const { app } = openShop()
    const work = vi.fn()
    const failing = app.transaction(async (_, { afterCommit }) => {
      afterCommit(work)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    const swallowed = app.transaction(async (_, { afterCommit, publish }) => {
      afterCommit(work)
      await publish(Placed, { id: 1n } as never).catch(() => {})
    })
    await expect(swallowed).rejects.toThrow('cannot be committed')
    expect(work).not.toHaveBeenCalled()
    await app.stop()
  })

  test('P13: never runs if the answer to the commit was lost', async () => {
    const { app } = openShop({
      change: (store) => ({
        ...store,
        unitOfWork: async (work, options) => {
          await store.unitOfWork(work, options)
          throw new Error('connection lost')
        },
      }),
    })
    const work = vi.fn()
    const unit = app.transaction(async (_, { afterCommit }) => afterCommit(work))
    await expect(unit).rejects.toThrow('connection lost')
    expect(work).not.toHaveBeenCalled()
    await app.stop()
  })

  test('a savepoint that is rolled back takes along what was noted in it, and nothing else', async () => {
    const { app } = openShop()
    const seen: string[] = []
    await app.transaction(async (_, { afterCommit, savepoint }) => {
      afterCommit(() => seen.push('before'))
      await savepoint(async () => afterCommit(() => seen.push('kept')))
      const undone = savepoint(async () => {
        afterCommit(() => seen.push('undone'))
        throw new Error('no')
      })
      await expect(undone).rejects.toThrow('no')
      afterCommit(() => seen.push('after'))
    })
    expect(seen).toEqual(['before', 'kept', 'after'])
    await app.stop()
  })

  test('a joined part runs its work after the commit of the whole', async () => {
    const { app } = openShop()
    const seen: string[] = []
    await app.transaction(async (_, sender) => {
      await app.transaction(async (__, { afterCommit }) => afterCommit(() => seen.push('part')), {
        join: sender,
      })
      seen.push('whole')
    })
    expect(seen).toEqual(['whole', 'part'])
    await app.stop()
  })

  test('a failure is logged, and changes nothing', async () => {
    const error = vi.fn()
    const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error }
    const { app, data } = openShop({ logger })
    await app.transaction(async (tx, { afterCommit }) => {
      tx.set('a', 1)
      afterCommit(() => {
        throw new Error('cache is away')
      })
      afterCommit(() => Promise.reject(new Error('mail is away')))
    })
    expect(await data()).toEqual(['a'])
    await vi.waitFor(() => expect(error).toHaveBeenCalledTimes(2))
    expect(error.mock.calls[0]?.[0]).toMatchObject({
      app: 'shop',
      error: expect.stringContaining('cache is away') as string,
    })
    await app.stop()
  })

  test('a handler runs it once, after the try that was committed', async () => {
    const { app, transport } = openShop({ receive: { immediateRetries: 2 } })
    const seen: number[] = []
    app.handle(Place, (_, { afterCommit, attempt }) => {
      afterCommit(() => seen.push(attempt))
      if (attempt < 3) throw new Error('not yet')
    })
    await app.start()
    const message = { type: 'orders.place', body: json({ id: 1 }), id: 'm' }
    expect(await transport.deliver('shop', message)).toEqual({ kind: 'ack' })
    await transport.deliver('shop', message)
    expect(seen).toEqual([3])
    await app.stop()
  })

  test('handlers that share a transaction run theirs after the shared commit', async () => {
    const { app, transport } = openShop({ receive: { concurrency: 4 } })
    const seen: number[] = []
    app.handle(Place, ({ id }, { afterCommit }) => afterCommit(() => seen.push(id)), {
      batch: 4,
    })
    await app.start()
    const deliver = (id: number) =>
      transport.deliver('shop', { type: 'orders.place', body: json({ id }), id: `m${id}` })
    await Promise.all([1, 2, 3, 4].map(deliver))
    expect(new Set(seen)).toEqual(new Set([1, 2, 3, 4]))
    expect(seen).toHaveLength(4)
    await app.stop()
  })

  test('without a database it runs when the handler has succeeded and its messages are published', async () => {
    const transport = fakeTransport()
    const app = new Mersal({
      name: 'shop',
      transport,
      logger: false,
      receive: { immediateRetries: 0 },
    })
    const seen: unknown[] = []
    app.handle(Place, async ({ id }, { afterCommit, publish }) => {
      await publish(Placed, { id })
      afterCommit(() => seen.push(transport.published.length))
      if (id === 2) throw new Error('no')
    })
    await app.start()
    await transport.deliver('shop', { type: 'orders.place', body: json({ id: 1 }) })
    await transport.deliver('shop', { type: 'orders.place', body: json({ id: 2 }) })
    expect(seen).toEqual([1])
    await app.stop()
  })

  test('P11: stop() waits for it within the grace', async () => {
    const store = memoryStore()
    const app = new Mersal({ name: 'shop', store, transport: fakeTransport(), logger: false })
    await app.start()
    const { promise, resolve } = Promise.withResolvers<void>()
    await app.transaction(async (_, { afterCommit }) => afterCommit(() => promise))
    let stopped = false
    const stopping = app.stop().then(() => (stopped = true))
    await new Promise((done) => setImmediate(done))
    expect(stopped).toBe(false)
    resolve()
    await stopping
  })

  test('what is no function, and a call after the end of the unit, are refused', async () => {
    const { app } = openShop()
    let late: ((work: () => void) => void) | undefined
    await app.transaction(async (_, { afterCommit }) => {
      late = afterCommit
      expect(() => afterCommit('mail' as never)).toThrow('expected a function')
    })
    expect(() => late?.(() => {})).toThrow('after its unit had ended')
    await app.stop()
  })
})
