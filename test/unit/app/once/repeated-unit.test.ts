import { expect, test } from 'vitest'
import { Mersal, type Store } from '../../../../src/index.ts'
import { memoryDatabase, memoryStore, type MemoryTransaction } from '../../../../src/memory.ts'
import { memoryNetwork } from '../../../../src/transports/memory.ts'

test('a unit that is repeated, and finds its key taken, waits with timers and gets the response', async () => {
  const database = memoryDatabase()
  const rival = open(memoryStore({ database }))
  const rivalHas = Promise.withResolvers<void>()
  let rivalCall: Promise<unknown> | undefined
  const store = memoryStore({ database })
  /** As a store does with `retrySerialization`; the rival takes the key between the two tries. */
  const repeating: Store<MemoryTransaction> = {
    ...store,
    async unitOfWork(work, options) {
      try {
        return await store.unitOfWork((tx) => work(tx), options)
      } catch (error) {
        if ((error as Error).message !== 'conflict') throw error
        rivalCall = rival.once({ key: 'k' }, async () => {
          rivalHas.resolve()
          await new Promise((resolve) => setTimeout(resolve, 50))
          return 'of the rival'
        })
        await rivalHas.promise
        return await store.unitOfWork((tx) => work(tx, 'after rollback'), options)
      }
    },
  }
  const app = open(repeating)
  let runs = 0
  const result = await app.once({ key: 'k', waitMs: 2000 }, async () => {
    runs++
    throw new Error('conflict')
  })
  expect(result).toEqual({ response: 'of the rival', replayed: true })
  expect(runs).toBe(1)
  expect(await rivalCall).toEqual({ response: 'of the rival', replayed: false })
  await Promise.all([app.stop(), rival.stop()])
})

function open(store: Store<MemoryTransaction>): Mersal<MemoryTransaction> {
  const transport = memoryNetwork().transport()
  return new Mersal({ name: 'shop', store, transport, logger: false })
}
