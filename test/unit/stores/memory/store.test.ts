import { describe, expect, test, vi } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import type { Store } from '../../../../src/core/store.ts'
import {
  memoryDatabase,
  memoryStore,
  type MemoryTransaction,
} from '../../../../src/stores/memory.ts'
import { manualClock } from '../../../../src/testing/manual-clock.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

function message(id: string, partitionKey?: string): OutgoingMessage {
  const base = {
    id,
    type: 'unit',
    headers: {},
    body: new Uint8Array([1]),
    to: { transport: 'default', kind: 'queue', name: 'q' },
  } as const
  return partitionKey === undefined ? base : { ...base, partitionKey }
}

/** A transaction that stays open until it is told to end. */
async function openUnit(store: Store<MemoryTransaction>, work: (tx: MemoryTransaction) => unknown) {
  const end = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<MemoryTransaction>()
  const done = store.unitOfWork(async (tx) => {
    await work(tx)
    begun.resolve(tx)
    await end.promise
  })
  done.catch((error: unknown) => begun.reject(error as Error))
  const tx = await begun.promise
  return {
    tx,
    done,
    commit: () => (end.resolve(), done),
    fail: () => end.reject(new Error('rolled back')),
  }
}

async function claimIds(store: Store<MemoryTransaction>): Promise<string[]> {
  const rows = await store.outbox.claim({ limit: 100, claimMs: 1000, token: 't' })
  return rows.map((row) => row.message.id)
}

describe('business data of a memory transaction', () => {
  const read = (store: Store<MemoryTransaction>, key: string) =>
    store.unitOfWork((tx) => Promise.resolve(tx.get(key)))

  test('it is visible to its own transaction at once, and to others after the commit', async () => {
    const store = memoryStore()
    const unit = await openUnit(store, (tx) => tx.set('a', 1))
    expect(unit.tx.get('a')).toBe(1)
    expect(await read(store, 'a')).toBeUndefined()
    await unit.commit()
    expect(await read(store, 'a')).toBe(1)
  })

  test('values are copied on the way in and on the way out', async () => {
    const store = memoryStore()
    const given = { list: [1] }
    await store.unitOfWork(async (tx) => {
      tx.set('a', given)
      given.list.push(2)
      ;(tx.get('a') as typeof given).list.push(3)
      await turn()
    })
    expect(await read(store, 'a')).toEqual({ list: [1] })
  })

  test('two transactions that change the same key: the second to commit fails with a conflict and stores nothing', async () => {
    const store = memoryStore()
    const slow = await openUnit(store, async (tx) => {
      tx.set('a', 'slow')
      tx.set('b', 'slow')
      await store.outbox.save(tx, [message('m1')])
    })
    await store.unitOfWork((tx) => Promise.resolve(tx.set('a', 'fast')))
    await expect(slow.commit()).rejects.toMatchObject({ code: 'MERSAL_STORE_CONFLICT' })
    expect([await read(store, 'a'), await read(store, 'b'), await claimIds(store)]).toEqual([
      'fast',
      undefined,
      [],
    ])
  })

  test('a transaction whose reading was overtaken cannot write from it', async () => {
    const store = memoryStore()
    const unit = await openUnit(store, (tx) => tx.set('total', Number(tx.get('count') ?? 0)))
    await store.unitOfWork((tx) => Promise.resolve(tx.set('count', 5)))
    await expect(unit.commit()).rejects.toMatchObject({ code: 'MERSAL_STORE_CONFLICT' })
  })

  test('a transaction never sees half of another one: it reads what was there when it began, or fails', async () => {
    const store = memoryStore()
    await store.unitOfWork((tx) => Promise.resolve([tx.set('a', 1), tx.set('b', 1)]))
    const unit = await openUnit(store, (tx) => tx.get('a'))
    await store.unitOfWork((tx) => Promise.resolve([tx.set('a', 2), tx.delete('b')]))
    expect(() => unit.tx.get('b')).toThrow(
      expect.objectContaining({ code: 'MERSAL_STORE_CONFLICT' }),
    )
    expect(() => unit.tx.entries()).toThrow(
      expect.objectContaining({ code: 'MERSAL_STORE_CONFLICT' }),
    )
    await unit.commit()
  })

  test('a list is overtaken by a row that somebody adds', async () => {
    const store = memoryStore()
    const unit = await openUnit(store, (tx) => tx.set('count', tx.entries('row').length))
    await store.unitOfWork((tx) => Promise.resolve(tx.set('row 1', true)))
    await expect(unit.commit()).rejects.toMatchObject({ code: 'MERSAL_STORE_CONFLICT' })
  })

  test('transactions on different keys do not disturb each other', async () => {
    const store = memoryStore()
    const first = await openUnit(store, (tx) => tx.set('a', 1))
    const second = await openUnit(store, (tx) => tx.set('b', 2))
    await second.commit()
    await first.commit()
    expect([await read(store, 'a'), await read(store, 'b')]).toEqual([1, 2])
  })

  test('entries are sorted, begin with the prefix, and show what the transaction itself has written and deleted', async () => {
    const store = memoryStore()
    await store.unitOfWork((tx) =>
      Promise.resolve(['row b', 'row a', 'other', 'row c'].forEach((key) => tx.set(key, key))),
    )
    const seen = await store.unitOfWork((tx) => {
      tx.delete('row a')
      tx.set('row b', undefined)
      tx.set('row d', 4)
      return Promise.resolve(tx.entries('row'))
    })
    expect(seen).toEqual([
      ['row c', 'row c'],
      ['row d', 4],
    ])
  })

  test('a handle is of no use after its transaction', async () => {
    const store = memoryStore()
    const tx = await store.unitOfWork((handle) => Promise.resolve(handle))
    for (const use of [
      () => tx.get('a'),
      () => tx.set('a', 1),
      () => tx.delete('a'),
      () => tx.entries(),
    ]) {
      expect(use).toThrow(expect.objectContaining({ code: 'MERSAL_NOT_A_TRANSACTION' }))
    }
  })
})

describe('transactions of the memory store', () => {
  test('a message without a key that commits late has the lower position', async () => {
    const store = memoryStore()
    let position = 0n
    const late = await openUnit(store, async (tx) => {
      position = (await store.outbox.save(tx, [message('late')]))[0]?.position ?? 0n
    })
    const saved = await store.unitOfWork((tx) => store.outbox.save(tx, [message('early')]))
    expect(await claimIds(store)).toEqual(['early'])
    await late.commit()
    expect(position).toBeLessThan(saved[0]?.position ?? 0n)
    expect(await claimIds(store)).toEqual(['late'])
  })

  test('a writer waits for the key that another transaction holds, and draws its position afterwards', async () => {
    const store = memoryStore()
    const holder = await openUnit(store, (tx) => store.outbox.save(tx, [message('1', 'k')]))
    let ended = false
    const waiter = store
      .unitOfWork((tx) => store.outbox.save(tx, [message('2', 'k')]))
      .finally(() => {
        ended = true
      })
    await turn()
    const other = await store.unitOfWork((tx) => store.outbox.save(tx, [message('3', 'l')]))
    expect(ended).toBe(false)
    await holder.commit()
    expect((await waiter)[0]?.position).toBeGreaterThan(other[0]?.position ?? 0n)
    expect(await claimIds(store)).toEqual(['1', '3', '2'])
  })

  test('the wait for a key is bounded, and a swallowed failure cannot be committed', async () => {
    const clock = manualClock()
    const store = memoryStore({ clock, lockWaitMs: 100 })
    const holder = await openUnit(store, (tx) => store.outbox.save(tx, [message('1', 'k')]))
    let failure: unknown
    const unit = store.unitOfWork(async (tx) => {
      tx.set('a', 1)
      failure = await store.outbox.save(tx, [message('2', 'k')]).catch((error: unknown) => error)
    })
    unit.catch(() => {})
    await clock.advance(99)
    expect(failure).toBeUndefined()
    await clock.advance(1)
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_ROLLED_BACK', cause: failure })
    expect(failure).toMatchObject({ code: 'MERSAL_STORE_BUSY' })
    await holder.commit()
    expect(clock.sleeping).toBe(0)
    expect(await store.unitOfWork((tx) => Promise.resolve(tx.get('a')))).toBeUndefined()
    expect(await claimIds(store)).toEqual(['1'])
  })

  test('an aborted signal ends the wait for a key, and the unit ends with its reason', async () => {
    const store = memoryStore()
    const stop = new AbortController()
    const holder = await openUnit(store, (tx) => store.outbox.save(tx, [message('1', 'k')]))
    const unit = store.unitOfWork((tx) => store.outbox.save(tx, [message('2', 'k')]), {
      signal: stop.signal,
    })
    await turn()
    stop.abort(new Error('enough'))
    await expect(unit).rejects.toThrow('enough')
    await holder.commit()
    expect(await claimIds(store)).toEqual(['1'])
  })

  test('a unit whose signal aborts while its function runs is rolled back, even if the function succeeds', async () => {
    const store = memoryStore()
    const stop = new AbortController()
    const unit = store.unitOfWork(
      async (tx) => {
        await store.outbox.save(tx, [message('1')])
        stop.abort(new Error('time is up'))
      },
      { signal: stop.signal },
    )
    await expect(unit).rejects.toThrow('time is up')
    expect(await claimIds(store)).toEqual([])
  })

  test('a save that nobody awaited fails when its transaction ends first, and leaves no lock behind', async () => {
    const store = memoryStore()
    const holder = await openUnit(store, (tx) => store.outbox.save(tx, [message('1', 'k')]))
    let stray: Promise<unknown> | undefined
    await store.unitOfWork((tx) => {
      stray = store.outbox.save(tx, [message('stray', 'k')])
      stray.catch(() => {})
      return turn()
    })
    await holder.commit()
    await expect(stray).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('2', 'k')]))
    expect(await claimIds(store)).toEqual(['1', '2'])
  })

  test('a transaction of one database is none of another, and stores of one database understand each other', async () => {
    const database = memoryDatabase()
    const [first, second, foreign] = [
      memoryStore({ database }),
      memoryStore({ database }),
      memoryStore(),
    ]
    await first.unitOfWork(async (tx) => {
      await second.outbox.save(tx, [message('1')])
      await expect(foreign.outbox.save(tx, [message('2')])).rejects.toMatchObject({
        code: 'MERSAL_NOT_A_TRANSACTION',
      })
      await expect(
        foreign.tracker.track(tx, { consumer: 'c', messageId: 'm' }),
      ).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
    })
    expect([await claimIds(first), await claimIds(foreign)]).toEqual([['1'], []])
  })

  test('an error from pause fails the step before it did anything, and leaves no lock behind', async () => {
    let broken: string | undefined
    const pause = async (step: string) => {
      await Promise.resolve()
      if (step === broken) throw new Error(`lost at ${step}`)
    }
    const store = memoryStore({ pause })
    for (const step of ['begin', 'save', 'commit']) {
      broken = step
      const unit = store.unitOfWork(async (tx) => {
        tx.set('a', 1)
        await store.outbox.save(tx, [message('1', 'k')])
      })
      await expect(unit).rejects.toThrow(`lost at ${step}`)
    }
    broken = 'claim'
    await expect(store.outbox.claim({ limit: 1, claimMs: 1, token: 't' })).rejects.toThrow(
      'lost at claim',
    )
    broken = undefined
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('2', 'k')]))
    expect(await store.unitOfWork((tx) => Promise.resolve(tx.get('a')))).toBeUndefined()
    expect(await claimIds(store)).toEqual(['2'])
  })

  test('a commit with messages wakes; one without, and a rollback, do not', async () => {
    const store = memoryStore()
    const stop = new AbortController()
    let woken = 0
    const watching = store.wakers.map((waker) => waker(() => woken++, { signal: stop.signal }))
    await store.unitOfWork((tx) => Promise.resolve(tx.set('a', 1)))
    const unit = await openUnit(store, (tx) => store.outbox.save(tx, [message('1')]))
    unit.fail()
    await expect(unit.done).rejects.toThrow('rolled back')
    expect(woken).toBe(0)
    await store.unitOfWork((tx) => store.outbox.save(tx, [message('2')]))
    expect(woken).toBe(1)
    stop.abort()
    await Promise.all(watching)
  })
})

describe('options of the memory store', () => {
  test('it refuses to run in production unless told that this is known', () => {
    vi.stubEnv('NODE_ENV', 'production')
    try {
      expect(() => memoryStore()).toThrow(expect.objectContaining({ code: 'MERSAL_STORE_UNSAFE' }))
      expect(memoryStore({ allowInProduction: true }).name).toBe('memory')
    } finally {
      vi.unstubAllEnvs()
    }
  })

  test('what is wrong is named', () => {
    const invalid = (field: string) =>
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } })
    expect(() => memoryStore({ clok: 1 } as object)).toThrow(/did you mean 'clock'/)
    expect(() => memoryStore({ keepSentMs: -1 })).toThrow(invalid('memoryStore.keepSentMs'))
    expect(() => memoryStore({ lockWaitMs: Number.NaN })).toThrow(invalid('memoryStore.lockWaitMs'))
    expect(() => memoryStore({ database: { name: 'memory' } })).toThrow(
      invalid('memoryStore.database'),
    )
    expect(() => memoryStore({ database: memoryDatabase(), clock: manualClock() })).toThrow(
      invalid('memoryStore.database'),
    )
  })

  test('a closed store begins, claims and settles nothing more', async () => {
    const store = memoryStore()
    await store[Symbol.asyncDispose]()
    const failed = { code: 'MERSAL_STORE_FAILED' }
    await expect(store.unitOfWork(() => Promise.resolve())).rejects.toMatchObject(failed)
    await expect(store.outbox.claim({ limit: 1, claimMs: 1, token: 't' })).rejects.toMatchObject(
      failed,
    )
    await expect(store.outbox.settle([])).rejects.toMatchObject(failed)
    await expect(store.open()).rejects.toMatchObject(failed)
  })
})
