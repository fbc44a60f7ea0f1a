import { describe, expect, test } from 'vitest'
import { Mersal } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import type { PostgresClient } from '../../../src/postgres.ts'
import { capture } from '../../../src/testing/index.ts'
import { openHandle, temporaryFolder } from '../../contract/sqlite-harness.ts'
import { smuggle } from '../../postgres/smuggle.ts'
import { sqlite } from '../../../src/sqlite.ts'
import { handleOne, Placed, kinds } from './worlds.ts'

const insert = (text: string): string => `insert into business values ('${text}')`
const ours = { code: 'MERSAL_TRANSACTION_IS_OURS' }

describe.each(kinds)('P1 P3: the transaction of a unit on $name', ({ open }) => {
  test('cannot be ended by its handler: the statement is refused, and the retries end in a dead letter, not in silence', async () => {
    await using place = await open()
    const outcome = await handleOne(place, async ({ n }, { tx, publish }) => {
      await publish(Placed, { n })
      await place.run(tx, insert('order'))
      await place.run(tx, 'commit')
    })
    expect(outcome.rows).toEqual([])
    expect(outcome.placed).toEqual([])
    expect(outcome.dead.map(({ reason }) => reason)).toEqual(['handler-failed'])
    expect(outcome.errors).toHaveLength(1)
  })

  test.each([
    'commit',
    'ROLLBACK',
    '-- x\n end',
    'begin',
    `${insert('lost')}; commit`,
    'rollback; begin',
  ])('goes on unharmed after %j was refused', async (text) => {
    await using place = await open()
    const outcome = await handleOne(place, async ({ n }, { tx, publish }) => {
      await place.run(tx, insert('order'))
      await expect(place.run(tx, text)).rejects.toMatchObject(ours)
      await publish(Placed, { n })
    })
    expect(outcome).toMatchObject({ rows: ['order'], placed: [1], dead: [], errors: [] })
  })
})

const smuggled = [
  ['commit', ['order']],
  ['rollback', []],
  ['rollback; begin', []],
  ['commit; begin', ['order']],
  ['commit and chain', ['order']],
  ['rollback and chain', []],
] as const

describe.skipIf(kinds[0]?.name !== 'PostgreSQL')(
  'P4: a transaction that was ended all the same, behind the back of the unit',
  () => {
    test.each(smuggled)(
      '%s: the message becomes a dead letter that says so, and can be handled again',
      async (text, rows) => {
        await using place = await (kinds[0] as (typeof kinds)[0]).open()
        let calls = 0
        const outcome = await handleOne(place, async ({ n }, { tx, publish }) => {
          calls++
          await place.run(tx, insert('order'))
          await publish(Placed, { n })
          await smuggle(tx as PostgresClient, text)
        })
        expect(calls).toBe(1)
        expect(outcome.rows).toEqual(rows)
        expect(outcome.placed).toEqual([])
        expect(outcome.dead.map(({ reason }) => reason)).toEqual(['transaction-ended'])
        expect(outcome.errors).toEqual(['message became a dead letter: MERSAL_TRANSACTION_ENDED'])
        const id = outcome.dead[0]?.id ?? ''
        // The record is gone, so that a person who sends it again has it handled.
        expect(
          await place.store.unitOfWork((tx) =>
            place.store.tracker.track(tx, { consumer: 'shop', messageId: id }),
          ),
        ).toBe('first')
      },
    )

    test('the same if the handler fails afterwards, or takes too long', async () => {
      for (const after of ['throw', 'hang'] as const) {
        await using place = await (kinds[0] as (typeof kinds)[0]).open()
        const outcome = await handleOne(
          place,
          async ({ n }, { tx, publish, signal }) => {
            await publish(Placed, { n })
            await smuggle(tx as PostgresClient, 'commit')
            if (after === 'throw') throw new Error('on purpose')
            await new Promise((_, reject) => signal.addEventListener('abort', reject))
          },
          { handlerTimeoutMs: 300 },
        )
        expect(outcome.dead.map(({ reason }) => reason)).toEqual(['transaction-ended'])
        expect(outcome.placed).toEqual([])
      }
    })

    test('app.transaction and a rehearsal reject with the typed error, and nothing that was sent is stored', async () => {
      await using place = await (kinds[0] as (typeof kinds)[0]).open()
      const app = new Mersal({
        name: 'shop',
        store: place.store,
        transport: memoryTransport(),
        outbox: { runRelay: false },
        logger: false,
      })
      for (const text of ['commit', 'rollback; begin']) {
        const unit = app.transaction(async (tx, { publish }) => {
          await publish(Placed, { n: 1 })
          await smuggle(tx as PostgresClient, text)
        })
        await expect(unit).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
        const rehearsal = capture(app).transaction((tx) => smuggle(tx as PostgresClient, text))
        await expect(rehearsal).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
      }
      expect((await place.store.admin.stats()).pending).toBe(0)
      await app.stop()
    })
  },
)

test.each([
  ['COMMIT', ['order']],
  ['ROLLBACK; BEGIN', []],
  ['COMMIT; BEGIN', ['order']],
])(
  'P4: %s on the handle that a program shares with the store of SQLite is noticed',
  async (text, rows) => {
    using folder = temporaryFolder()
    const database = openHandle('node:sqlite', folder.file('app.db'))
    database.exec('CREATE TABLE business (text)')
    const store = sqlite({ database })
    const read = async (): Promise<string[]> =>
      database
        .prepare('SELECT text FROM business')
        .all()
        .map((row) => (row as { text: string }).text)
    const place = { store, run: async () => {}, rows: read, [Symbol.asyncDispose]: async () => {} }
    const outcome = await handleOne(place, async ({ n }, { publish }) => {
      database.exec(insert('order'))
      await publish(Placed, { n })
      database.exec(text)
    })
    expect(outcome).toMatchObject({ rows, placed: [], dead: [{ reason: 'transaction-ended' }] })
    const messageId = outcome.dead[0]?.id ?? ''
    expect(
      await store.unitOfWork((tx) => store.tracker.track(tx, { consumer: 'shop', messageId })),
    ).toBe('first')
    await store[Symbol.asyncDispose]()
    database.close()
  },
)
