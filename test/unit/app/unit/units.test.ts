import { describe, expect, test } from 'vitest'
import { Mersal, command, event } from '../../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../../src/memory.ts'
import type { Store } from '../../../../src/core/store.ts'
import { rejection } from '../../support/errors.ts'
import { fakeTransport } from '../../support/fake-transport.ts'

const Placed = event<{ id: number }>('orders.placed')
const Place = command<{ id: number }>('orders.place')

/** An app whose rows stay in the outbox, so that tests can look at them. */
function setUp(
  change: (store: Store<MemoryTransaction>) => Store<MemoryTransaction> = (store) => store,
) {
  const store = change(memoryStore())
  const transport = fakeTransport({ maxMessageBytes: 2000 })
  const app = new Mersal({
    name: 'shop',
    store,
    transport,
    outbox: { runRelay: false },
    logger: false,
  })
  const rows = () => store.outbox.claim({ limit: 100, claimMs: 60_000, token: 'test' })
  const data = () => store.unitOfWork(async (tx) => tx.entries().map(([key]) => key))
  return { app, store, transport, rows, data }
}

describe('P1: data and messages are committed together', () => {
  test('both exist after the commit', async () => {
    const { app, rows, data } = setUp()
    const result = await app.transaction(async (tx, { publish }) => {
      tx.set('order', 1)
      return publish(Placed, { id: 1 })
    })
    const [row] = await rows()
    expect(row?.message.id).toBe(result)
    expect(await data()).toEqual(['order'])
  })

  test('neither exists after the work has thrown, and its own error is thrown', async () => {
    const { app, rows, data } = setUp()
    const failure = new Error('no stock')
    const failing = app.transaction(async (tx) => {
      tx.set('order', 1)
      await app.publish(Placed, { id: 1 })
      throw failure
    })
    await expect(failing).rejects.toBe(failure)
    expect(await rows()).toEqual([])
    expect(await data()).toEqual([])
  })

  test('messages are saved in the order of the calls, once, as the last act of the transaction', async () => {
    const order: string[] = []
    const { app, rows } = setUp((store) => ({
      ...store,
      outbox: {
        ...store.outbox,
        save: (tx, messages, options) => {
          order.push(`save ${messages.length}`)
          return store.outbox.save(tx, messages, options)
        },
      },
    }))
    await app.transaction(async (_tx, { publish }) => {
      await Promise.all([publish(Placed, { id: 1 }), publish(Placed, { id: 2 })])
      await publish(Placed, { id: 3 })
      order.push('work is over')
    })
    expect(order).toEqual(['work is over', 'save 3'])
    expect((await rows()).map((row) => new TextDecoder().decode(row.message.body))).toEqual([
      '{"id":1}',
      '{"id":2}',
      '{"id":3}',
    ])
  })

  test('a body is taken as it was at the call, whatever happens to the object afterwards', async () => {
    const { app, rows } = setUp()
    await app.transaction(async (_tx, { publish }) => {
      const body = { id: 1 }
      const sending = publish(Placed, body)
      body.id = 2
      await sending
    })
    expect(new TextDecoder().decode((await rows())[0]?.message.body)).toBe('{"id":1}')
  })
})

describe('P3: sending fails closed', () => {
  test('a send outside of any transaction is refused and names the remedies', async () => {
    const { app, transport, rows } = setUp()
    const error = await rejection(app.publish(Placed, { id: 1 }), 'MERSAL_NO_TRANSACTION')
    for (const remedy of ['app.transaction', 'app.within(tx)', 'app.direct'])
      expect(error.message).toContain(remedy)
    expect(transport.published).toEqual([])
    expect(await rows()).toEqual([])
  })

  test('a send after the end of its unit is refused', async () => {
    const { app, rows } = setUp()
    let late: (() => Promise<string>) | undefined
    await app.transaction(async (_tx, { publish }) => {
      late = () => publish(Placed, { id: 1 })
    })
    await rejection(late!(), 'MERSAL_UNIT_ENDED')
    expect(await rows()).toEqual([])
  })

  test('a send while the messages of its unit are being saved is refused: it would be left out', async () => {
    const saving = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const { app, rows } = setUp((store) => ({
      ...store,
      outbox: {
        ...store.outbox,
        save: async (...given) => {
          saving.resolve()
          await goOn.promise
          return store.outbox.save(...given)
        },
      },
    }))
    let late: (() => Promise<string>) | undefined
    const working = app.transaction(async (_tx, { publish }) => {
      late = () => publish(Placed, { id: 2 })
      await publish(Placed, { id: 1 })
    })
    await saving.promise
    await rejection(late!(), 'MERSAL_UNIT_ENDED')
    goOn.resolve()
    await working
    expect(await rows()).toHaveLength(1)
  })

  test('code that outlives its transaction is told so, but may open a new one', async () => {
    const { app, rows } = setUp()
    const ended = Promise.withResolvers<void>()
    let outliving: Promise<void> | undefined
    await app.transaction(async () => {
      outliving = (async () => {
        await ended.promise
        await rejection(app.publish(Placed, { id: 1 }), 'MERSAL_UNIT_ENDED')
        await app.transaction(async () => void (await app.publish(Placed, { id: 2 })))
      })()
    })
    ended.resolve()
    await outliving
    expect(await rows()).toHaveLength(1)
  })

  const loose: Record<string, (send: () => Promise<unknown>) => Promise<unknown>> = {
    'a send with void': async (send) => void send(),
    'a send with void, long settled': async (send) => {
      void send()
      await new Promise((resolve) => setImmediate(resolve))
    },
    'a send whose catch is not awaited': async (send) => {
      void send().catch(() => {})
    },
    'a send whose catch is not awaited, long settled': async (send) => {
      void send().catch(() => {})
      await new Promise((resolve) => setImmediate(resolve))
    },
    'one of two sends': async (send) => {
      void send()
      await send()
    },
  }
  for (const [what, work] of Object.entries(loose)) {
    test(`${what} is not awaited: nothing is committed`, async () => {
      const { app, rows, data } = setUp()
      const failing = app.transaction(async (tx, { publish }) => {
        tx.set('order', 1)
        await work(() => publish(Placed, { id: 1 }))
      })
      const error = await rejection(failing, 'MERSAL_NOT_AWAITED')
      expect(error.message).toContain("publish('orders.placed')")
      expect(await rows()).toEqual([])
      expect(await data()).toEqual([])
    })
  }

  const awaited: Record<string, (send: () => Promise<unknown>) => Promise<unknown>> = {
    await: async (send) => void (await send()),
    'return from an async function': async (send) => send(),
    'return from a plain function': (send) => send(),
    'Promise.all': async (send) => Promise.all([send(), send()]),
    'then and return': (send) => send().then(() => 1),
    'await of a helper': async (send) => {
      const helper = async (): Promise<void> => void (await send())
      await helper()
    },
    'catch, awaited': async (send) => send().catch(() => {}),
    'Promise.allSettled': async (send) => Promise.allSettled([send(), send()]),
  }
  for (const [what, work] of Object.entries(awaited)) {
    test(`${what} counts as awaited`, async () => {
      const { app, rows } = setUp()
      await app.transaction(async (_tx, { publish }) => work(() => publish(Placed, { id: 1 })))
      expect((await rows()).length).toBeGreaterThan(0)
    })
  }

  test('a send that is still being captured when the work returns is not awaited, even if somebody looks at it', async () => {
    const { rows, store, transport } = setUp()
    const never = { name: 'never', run: () => new Promise<never>(() => {}) }
    const app = new Mersal({
      name: 'slow',
      store,
      transport,
      outbox: { runRelay: false },
      outgoing: [never],
    })
    const failing = app.transaction(async (_tx, { publish }) => {
      void publish(Placed, { id: 1 }).then(() => {})
    })
    await rejection(failing, 'MERSAL_NOT_AWAITED')
    expect(await rows()).toEqual([])
  })

  test('a failed send fails its unit, even if the failure is caught', async () => {
    const { app, rows, data } = setUp()
    const failing = app.transaction(async (tx, { publish, send }) => {
      tx.set('order', 1)
      await publish(Placed, { id: 1 })
      await send(Place, { id: 1 }).catch(() => {})
    })
    const error = await rejection(failing, 'MERSAL_ROLLED_BACK')
    expect((error.cause as { code: string }).code).toBe('MERSAL_NO_ROUTE')
    expect(await rows()).toEqual([])
    expect(await data()).toEqual([])
  })
})

describe('nested transactions', () => {
  test('one that is given the sender of the unit joins it: one transaction, one commit', async () => {
    const { app, rows } = setUp()
    await app.transaction(async (outer, sender) => {
      await app.publish(Placed, { id: 1 })
      const inside = async (inner: MemoryTransaction, { publish }: typeof sender) => {
        expect(inner).toBe(outer)
        await publish(Placed, { id: 2 })
      }
      await app.transaction(inside, { join: sender })
      expect(await rows()).toEqual([])
    })
    expect(await rows()).toHaveLength(2)
  })

  test('one that fails takes the whole unit with it, even if the failure is caught', async () => {
    const { app, rows, data } = setUp()
    const failure = new Error('inner')
    const failing = app.transaction(async (tx, sender) => {
      tx.set('order', 1)
      await app.transaction(() => Promise.reject(failure), { join: sender }).catch(() => {})
      await app.publish(Placed, { id: 1 })
    })
    expect((await rejection(failing, 'MERSAL_ROLLED_BACK')).cause).toBe(failure)
    expect(await rows()).toEqual([])
    expect(await data()).toEqual([])
  })

  test('one that is not awaited rolls the unit back', async () => {
    const { app } = setUp()
    const failing = app.transaction(
      async (_, sender) => void app.transaction(async () => {}, { join: sender }),
    )
    await rejection(failing, 'MERSAL_NOT_AWAITED')
  })

  test('the transaction of another app is another transaction', async () => {
    const one = setUp()
    const two = setUp()
    const failing = one.app.transaction(async () => {
      await rejection(two.app.publish(Placed, { id: 1 }), 'MERSAL_NO_TRANSACTION')
      await two.app.transaction(async () => void (await two.app.publish(Placed, { id: 2 })))
      throw new Error('only the outer one')
    })
    await expect(failing).rejects.toThrow('only the outer one')
    expect(await one.rows()).toEqual([])
    expect(await two.rows()).toHaveLength(1)
  })
})

describe('a signal and a unit', () => {
  test('aborting rolls back at once, and later sends of the abandoned work are refused', async () => {
    const { app, rows, data } = setUp()
    const controller = new AbortController()
    const goOn = Promise.withResolvers<void>()
    const late = Promise.withResolvers<unknown>()
    const failing = app.transaction(
      async (tx, { publish }) => {
        tx.set('order', 1)
        await publish(Placed, { id: 1 })
        controller.abort(new Error('enough'))
        await goOn.promise
        await publish(Placed, { id: 2 }).catch(late.resolve)
      },
      { signal: controller.signal },
    )
    await expect(failing).rejects.toThrow('enough')
    goOn.resolve()
    expect(await late.promise).toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    expect(await rows()).toEqual([])
    expect(await data()).toEqual([])
  })

  test('abandoned work that ends later writes nothing', async () => {
    let saves = 0
    const { app } = setUp((store) => ({
      ...store,
      outbox: { ...store.outbox, save: (...given) => (saves++, store.outbox.save(...given)) },
    }))
    const controller = new AbortController()
    const goOn = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<void>()
    const failing = app.transaction(
      async (_tx, { publish }) => {
        await publish(Placed, { id: 1 })
        controller.abort(new Error('enough'))
        await goOn.promise
        queueMicrotask(() => setImmediate(ended.resolve))
      },
      { signal: controller.signal },
    )
    await expect(failing).rejects.toThrow('enough')
    goOn.resolve()
    await ended.promise
    expect(saves).toBe(0)
  })
})

describe('P13: only what happened is reported', () => {
  test('a unit of work that hides the failure of its work is no commit', async () => {
    const { app } = setUp((store) => ({
      ...store,
      unitOfWork: (async (work: (tx: MemoryTransaction) => Promise<unknown>) =>
        store.unitOfWork(work).catch(() => {})) as Store<MemoryTransaction>['unitOfWork'],
    }))
    await rejection(
      app.transaction(() => Promise.reject(new Error('work'))),
      'MERSAL_ROLLED_BACK',
    )
  })

  test('a unit of work that calls its function twice is stopped', async () => {
    const { app, rows } = setUp((store) => ({
      ...store,
      unitOfWork: async (work) => {
        await store.unitOfWork(work)
        return store.unitOfWork(work)
      },
    }))
    await rejection(
      app.transaction(async (_tx, { publish }) => publish(Placed, { id: 1 })),
      'MERSAL_STORE_FAILED',
    )
    expect(await rows()).toHaveLength(1)
  })

  test('of a unit that the store says it repeats after a rollback, only the last run counts', async () => {
    const { app, rows } = setUp((store) => ({
      ...store,
      unitOfWork: async (work) => {
        await expect(
          store.unitOfWork(async (tx) => {
            await work(tx)
            throw new Error('could not serialize')
          }),
        ).rejects.toThrow('could not serialize')
        return store.unitOfWork((tx) => work(tx, 'after rollback'))
      },
    }))
    let run = 0
    const result = await app.transaction(async (_tx, { publish }) => {
      await publish(Placed, { id: ++run })
      return run
    })
    expect(result).toBe(2)
    expect((await rows()).map((row) => new TextDecoder().decode(row.message.body))).toEqual([
      '{"id":2}',
    ])
  })

  test('a joined transaction whose signal aborts fails the unit only when its work has ended', async () => {
    const { app, rows } = setUp()
    const abort = new AbortController()
    const steps: string[] = []
    const unit = app.transaction(async (_tx, sender) => {
      await sender.publish(Placed, { id: 1 })
      const work = async (): Promise<void> => {
        abort.abort(new Error('given up'))
        await Promise.resolve()
        steps.push('nested work ended')
      }
      await app.transaction(work, { signal: abort.signal, join: sender })
    })
    await expect(unit).rejects.toThrow('given up')
    steps.push('unit ended')
    expect(steps).toEqual(['nested work ended', 'unit ended'])
    expect(await rows()).toEqual([])
  })
})

describe('within(tx)', () => {
  test('the message is written at once and lives and dies with the foreign transaction', async () => {
    const { app, store, rows } = setUp()
    await store.unitOfWork(async (tx) => void (await app.within(tx).publish(Placed, { id: 1 })))
    const failing = store.unitOfWork(async (tx) => {
      await app.within(tx).publish(Placed, { id: 2 })
      throw new Error('rolled back')
    })
    await expect(failing).rejects.toThrow('rolled back')
    expect((await rows()).map((row) => new TextDecoder().decode(row.message.body))).toEqual([
      '{"id":1}',
    ])
  })

  test('calls that are made together are written in their order', async () => {
    const { app, store, rows } = setUp()
    const bodies = [1, 2, 3, 4].map((id) => ({ id }))
    await store.unitOfWork((tx) =>
      Promise.all(
        bodies.map((body) => app.within(tx).publish(Placed, body, { partitionKey: 'k' })),
      ),
    )
    expect(
      (await rows()).map((row) => JSON.parse(new TextDecoder().decode(row.message.body))),
    ).toEqual(bodies)
  })

  test('a slow schema of the first call does not let the second one overtake', async () => {
    const first = Promise.withResolvers<void>()
    const validate = async (value: unknown) => {
      if ((value as { id: number }).id === 1) await first.promise
      return { value: value as { id: number } }
    }
    const Slow = event<{ id: number }>('slow', {
      '~standard': { version: 1, vendor: 'test', validate },
    })
    const { app, store, rows } = setUp()
    await store.unitOfWork(async (tx) => {
      const sending = [
        app.within(tx).publish(Slow, { id: 1 }),
        app.within(tx).publish(Slow, { id: 2 }),
      ]
      setImmediate(first.resolve)
      await Promise.all(sending)
    })
    expect((await rows()).map((row) => new TextDecoder().decode(row.message.body))).toEqual([
      '{"id":1}',
      '{"id":2}',
    ])
  })

  test('a call that fails does not hold up the next one', async () => {
    const { app, store, rows } = setUp()
    await store.unitOfWork(async (tx) => {
      const sender = app.within(tx)
      const [failing, sending] = [
        sender.publish(Placed, { id: 1n } as never),
        sender.publish(Placed, { id: 2 }),
      ]
      await rejection(failing, 'MERSAL_ENCODE')
      await sending
    })
    expect(await rows()).toHaveLength(1)
  })

  test('the own transaction of the app is recognised: its messages keep their order', async () => {
    const { app, rows } = setUp()
    await app.transaction(async (tx, { publish }) => {
      await publish(Placed, { id: 1 })
      await app.within(tx).publish(Placed, { id: 2 })
    })
    expect((await rows()).map((row) => new TextDecoder().decode(row.message.body))).toEqual([
      '{"id":1}',
      '{"id":2}',
    ])
  })

  test('no handle, or one that has ended, is refused', async () => {
    const { app, store } = setUp()
    expect(() => app.within(undefined as never)).toThrow(
      expect.objectContaining({ code: 'MERSAL_NOT_A_TRANSACTION' }),
    )
    let ended: MemoryTransaction | undefined
    await store.unitOfWork(async (tx) => {
      ended = tx
    })
    await rejection(app.within(ended!).publish(Placed, { id: 1 }), 'MERSAL_NOT_A_TRANSACTION')
  })
})
