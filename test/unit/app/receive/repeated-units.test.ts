import { describe, expect, test } from 'vitest'
import { type Handler, type IncomingStep, type Store, command } from '../../../../src/index.ts'
import type { MemoryTransaction } from '../../../../src/memory.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Pick = command<{ lines: string[] }>('orders.pick')
const conflict = Object.assign(new Error('could not serialize access'), { code: '40001' })

/** A store that refuses the first commit, and runs the work again. */
function repeating(store: Store<MemoryTransaction>): Store<MemoryTransaction> {
  const unitOfWork: Store<MemoryTransaction>['unitOfWork'] = async (work, options) => {
    const refused = store.unitOfWork(async (tx) => {
      await work(tx)
      throw conflict
    }, options)
    const error: unknown = await refused.catch((thrown: unknown) => thrown)
    if (error !== conflict) throw error
    return await store.unitOfWork((tx) => work(tx, 'after rollback'), options)
  }
  return { ...store, unitOfWork }
}

async function pick(
  incoming: readonly IncomingStep[],
  handler: Handler<{ lines: string[] }, MemoryTransaction>,
) {
  const { app, transport, data } = openShop({ change: repeating, incoming })
  app.handle(Pick, handler)
  await app.start()
  const body = json({ lines: ['ink', 'paper'] })
  const outcome = await transport.deliver('shop', { type: 'orders.pick', body })
  const stored = await data()
  await app.stop()
  return { outcome, stored }
}

describe('a unit that its store repeats after a rollback', () => {
  test('P4: a handler that changes its body gets it anew, and nothing is lost', async () => {
    let runs = 0
    const { outcome, stored } = await pick([], ({ lines }, { tx }) => {
      runs++
      for (const line of lines.splice(0)) tx.set(line, 'picked')
    })
    expect(runs).toBe(2)
    expect(outcome).toEqual({ kind: 'ack' })
    expect(stored).toEqual(['ink', 'paper'])
  })

  test('a body that a step has made is given again as it is', async () => {
    const made = { lines: ['decrypted'] }
    const run: IncomingStep['run'] = (context, next) => {
      context.body = made
      return next()
    }
    const seen: unknown[] = []
    await pick([{ name: 'decrypt', run }], (body) => void seen.push(body))
    expect(seen).toEqual([made, made])
    expect(seen[1]).toBe(made)
  })
})
