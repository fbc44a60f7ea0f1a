import { describe, expect, test } from 'vitest'
import { memoryStore, type MemoryTransaction } from '../../../src/memory.ts'
import { Placed, type World, handleOne, kinds } from './worlds.ts'

const insert = (text: string): string => `insert into business values ('${text}')`

async function openMemory(): Promise<World<MemoryTransaction>> {
  const store = memoryStore()
  return {
    store,
    run: async (tx, sql) => tx.set(/'(.*)'/.exec(sql)?.[1] ?? '', true),
    rows: () => store.unitOfWork(async (tx) => tx.entries().map(([key]) => key)),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}

const all = [
  { name: 'the memory store', open: openMemory as () => Promise<World<unknown>> },
  ...kinds,
]
const onPurpose = new Error('on purpose')
const fail = (): never => {
  throw onPurpose
}

describe.each(all)('P1: savepoint() in a unit on $name', ({ open }) => {
  test('a part that fails takes its rows and its messages along, and the unit goes on', async () => {
    await using world = await open()
    const outcome = await handleOne(world, async (_, { tx, publish, savepoint }) => {
      await publish(Placed, { n: 1 })
      await world.run(tx, insert('a'))
      const failing = savepoint(async () => {
        await publish(Placed, { n: 2 })
        await world.run(tx, insert('b'))
        fail()
      })
      await expect(failing).rejects.toBe(onPurpose)
      const kept = await savepoint(async () => {
        await publish(Placed, { n: 3 })
        await world.run(tx, insert('c'))
        return 'kept'
      })
      expect(kept).toBe('kept')
    })
    expect(outcome).toMatchObject({ rows: ['a', 'c'], placed: [1, 3], dead: [] })
  })

  test('savepoints are nested: an inner one goes alone, and an outer one takes the inner ones along', async () => {
    await using world = await open()
    const outcome = await handleOne(world, async (_, { tx, publish, savepoint }) => {
      const add = async (n: number): Promise<void> => {
        await publish(Placed, { n })
        await world.run(tx, insert(String(n)))
      }
      await savepoint(async () => {
        await add(1)
        await savepoint(() => add(2))
        await savepoint(() => add(3).then(fail)).catch(() => {})
        await add(4)
      })
      const outer = savepoint(async () => {
        await add(5)
        await savepoint(() => add(6))
        fail()
      })
      await outer.catch(() => {})
      await add(7)
    })
    expect(outcome).toMatchObject({ rows: ['1', '2', '4', '7'], placed: [1, 2, 4, 7], dead: [] })
  })

  test('a send that failed inside is forgiven with it, and one that failed outside is not', async () => {
    await using world = await open()
    const wrong = { headers: { 'x-mersal-id': 'mine' } }
    const forgiven = await handleOne(world, async (_, { publish, savepoint }) => {
      await savepoint(() => publish(Placed, { n: 1 }, wrong)).catch(() => {})
      await publish(Placed, { n: 2 })
    })
    expect(forgiven).toMatchObject({ placed: [2], dead: [] })
    const caught = await handleOne(world, async (_, { publish, savepoint }) => {
      await savepoint(async () => void (await publish(Placed, { n: 3 }, wrong).catch(() => {})))
    })
    expect(caught).toMatchObject({ placed: [], dead: [{ reason: 'handler-failed' }] })
  })

  test('beside an open savepoint neither another one nor a send is taken, and the unit fails', async () => {
    await using world = await open()
    const codes: unknown[] = []
    const outcome = await handleOne(world, async (_, { publish, savepoint }) => {
      const gate = Promise.withResolvers<void>()
      const first = savepoint(() => gate.promise)
      for (const call of [savepoint(async () => {}), publish(Placed, { n: 1 })]) {
        await call.catch((error: { code?: unknown }) => codes.push(error.code))
      }
      gate.resolve()
      await first
    })
    expect(new Set(codes)).toEqual(new Set(['MERSAL_PARALLEL_SAVEPOINT']))
    expect(outcome).toMatchObject({ placed: [], dead: [{ reason: 'handler-failed' }] })
  })

  test('a send beside an open savepoint fails the unit also when that savepoint is rolled back', async () => {
    await using world = await open()
    const outcome = await handleOne(world, async (_, { publish, savepoint }) => {
      const undone = savepoint(() => Promise.reject(new Error('on purpose')))
      await publish(Placed, { n: 1 }).catch(() => {})
      await undone.catch(() => {})
    })
    expect(outcome).toMatchObject({ placed: [], dead: [{ reason: 'handler-failed' }] })
  })

  test('a send inside that nobody awaited fails the unit, however the savepoint ends', async () => {
    for (const end of [() => {}, fail]) {
      await using world = await open()
      const outcome = await handleOne(world, async (_, { publish, savepoint }) => {
        const part = savepoint(async () => {
          void publish(Placed, { n: 1 })
          end()
        })
        await part.catch(() => {})
      })
      expect(outcome).toMatchObject({ placed: [], dead: [{ reason: 'handler-failed' }] })
    }
  })
})

describe.each(kinds)('P1: savepoints that the work makes itself on $name', ({ open }) => {
  test.each([
    ['savepoint a', '+2', 'rollback to a', [1, 9]],
    ['savepoint a', '+2', 'release a', [1, 2, 9]],
    ['SAVEPOINT "A"', '+2', 'Rollback To Savepoint "A"', '+3', [1, 3, 9]],
    [
      'savepoint a',
      '+2',
      'savepoint a',
      '+3',
      'rollback to a',
      '+4',
      'release a',
      'rollback to a',
      [1, 9],
    ],
    ['savepoint a', '+2', 'savepoint b', '+3', 'rollback to a', '+4', [1, 4, 9]],
    ['savepoint a', '+2', 'savepoint b', '+3', 'release a', '+4', [1, 2, 3, 4, 9]],
    ['savepoint a', '+2', 'rollback to a', '+3', 'rollback to a', '+4', [1, 4, 9]],
    ['savepoint a; select 1', '+2', 'rollback to a; release a', [1, 9]],
  ])('%j %j %j …', async (...script) => {
    await using world = await open()
    const outcome = await handleOne(world, async (_, { tx, publish }) => {
      await publish(Placed, { n: 1 })
      for (const step of script.slice(0, -1) as string[]) {
        if (step.startsWith('+')) await publish(Placed, { n: Number(step) })
        else await world.run(tx, step)
      }
      await publish(Placed, { n: 9 })
    })
    expect(outcome.dead).toEqual([])
    expect(outcome.placed).toEqual(script.at(-1))
  })

  test('a statement about savepoints that failed changes nothing of what is taken along', async () => {
    await using world = await open()
    const outcome = await handleOne(world, async (_, { tx, publish }) => {
      await world.run(tx, 'savepoint a')
      await publish(Placed, { n: 1 })
      await world.run(tx, 'savepoint b')
      await world.run(tx, 'release nothing').catch(() => {})
      await world.run(tx, 'savepoint a').catch(() => {})
      await world.run(tx, 'rollback to b')
      await publish(Placed, { n: 2 })
    })
    expect(outcome).toMatchObject({ placed: [1, 2], dead: [] })
  })

  test('a failure that a savepoint has taken back leaves the unit whole', async () => {
    await using world = await open()
    const outcome = await handleOne(world, async (_, { tx, publish, savepoint }) => {
      await publish(Placed, { n: 1 })
      await savepoint(() => world.run(tx, 'insert into nowhere values (1)')).catch(() => {})
      await world.run(tx, insert('a'))
    })
    expect(outcome).toMatchObject({ rows: ['a'], placed: [1], dead: [] })
  })
})

const [postgres] = kinds
describe.skipIf(postgres?.name !== 'PostgreSQL')(
  'P1: where it cannot be told what went with a savepoint',
  () => {
    test('a text of several statements that failed in the middle fails the unit', async () => {
      await using world = await (postgres as (typeof kinds)[0]).open()
      const outcome = await handleOne(world, async (_, { tx, publish }) => {
        await world.run(tx, 'savepoint a')
        await publish(Placed, { n: 1 })
        await world.run(tx, 'savepoint b; select 1 / 0').catch(() => {})
        await world.run(tx, 'rollback to a')
      })
      expect(outcome).toMatchObject({ placed: [], dead: [{ reason: 'handler-failed' }] })
    })

    test('an error that was caught inside savepoint() is a failure of that savepoint', async () => {
      await using world = await (postgres as (typeof kinds)[0]).open()
      const outcome = await handleOne(world, async (_, { tx, publish, savepoint }) => {
        const part = savepoint(async () => {
          await publish(Placed, { n: 1 })
          await world.run(tx, 'select 1 / 0').catch(() => {})
        })
        await expect(part).rejects.toMatchObject({ code: 'MERSAL_ROLLED_BACK' })
        await publish(Placed, { n: 2 })
      })
      expect(outcome).toMatchObject({ placed: [2], dead: [] })
    })
  },
)
