import { Client, type PoolConfig } from 'pg'
import { describe, test } from 'vitest'
import { memoryStore, type MemoryTransaction } from '../../src/memory.ts'
import { postgres, type PostgresClient } from '../../src/postgres.ts'
import { sqlite, type SqliteDatabase } from '../../src/sqlite.ts'
import {
  libraries,
  openHandle,
  temporaryFolder,
  type TestDatabase,
} from '../contract/sqlite-harness.ts'
import { serverAnswers, testDatabase } from '../postgres/database.ts'
import { plainSavepoint } from '../postgres/plain-savepoint.ts'
import { smuggle } from '../postgres/smuggle.ts'
import { expectNothingWrong } from './expect.ts'
import type { Library } from './here.ts'

const present = await serverAnswers()
const title = 'P1 P3: whatever a program does, its rows and messages share one fate'

/** Nobody knows how its queries are made, as of a client in C: its statements are sent one by one. */
class PlainClient extends Client {
  static readonly Query = undefined
}

const clients: Readonly<Record<string, PoolConfig>> = {
  pg: {},
  'pg, one statement after the other': { Client: PlainClient },
}

describe.skipIf(!present).each(Object.entries(clients))('programs on %s', (name, options) => {
  test(title, { timeout: 240_000 }, async () => {
    await using database = await testDatabase()
    const { schema } = database
    const pool = database.newPool(options)
    const store = postgres({ pool, schema })
    const library: Library<PostgresClient> = {
      async transaction(work) {
        const client = await pool.connect()
        try {
          await client.query('begin')
          await work(client)
          await client.query('commit')
        } catch (error) {
          await client.query('rollback')
          throw error
        } finally {
          client.release()
        }
      },
      insert: async (tx, text) =>
        void (await tx.query(`insert into ${schema}.business values ($1)`, [text])),
      savepoint: (tx, work) =>
        plainSavepoint(
          (text) => tx.query(text),
          () => work(tx),
        ),
      fail: async (tx) => void (await tx.query('select 1 / 0')),
      end: async (tx, text) => void (await tx.query(text)),
      endUnseen: smuggle,
    }
    await expectNothingWrong({
      store,
      library,
      abilities: {
        ends: true,
        savepoints: true,
        // What such a client runs unseen is not watched.
        unseen: name === 'pg',
        slips: ['fail', 'write'],
      },
      atOnce: 4,
      rows: async () =>
        (await database.query(`select text from ${schema}.business`)).map(({ text }) =>
          String(text),
        ),
      messages: async () =>
        (
          await database.query(
            `select convert_from(body, 'UTF8')::json ->> 'tag' as tag from ${schema}.outbox`,
          )
        ).map(({ tag }) => String(tag)),
    })
  })
})

for (const name of libraries) {
  describe(`programs on SQLite by ${name}`, () => {
    test(title, { timeout: 240_000 }, async () => {
      using folder = temporaryFolder()
      const path = folder.file('programs.db')
      const plain = openHandle(name, path)
      plain.exec('create table business (text text not null)')
      plain.exec('create table taken (number integer primary key); insert into taken values (1)')
      const store = sqlite<SqliteDatabase>({ open: () => openHandle(name, path) })
      const tables = (tx: SqliteDatabase): TestDatabase => tx as TestDatabase
      const opened = (): TestDatabase => {
        const own = openHandle(name, path)
        own.exec('pragma busy_timeout = 5000')
        return own
      }
      // Somebody who keeps his handle, and somebody who opens one each time.
      const kept = opened()
      let transactions = 0
      const library: Library<SqliteDatabase> = {
        async transaction(work) {
          const own = transactions++ % 2 === 0 ? kept : opened()
          own.exec('begin immediate')
          try {
            await work(own)
            own.exec('commit')
          } catch (error) {
            own.exec('rollback')
            throw error
          } finally {
            if (own !== kept) own.close()
          }
        },
        insert: async (tx, text) =>
          void tables(tx).prepare('insert into business values (?)').run(text),
        savepoint: (tx, work) =>
          plainSavepoint(
            async (text) => tx.exec(text),
            () => work(tx),
          ),
        fail: async (tx) => void tx.exec('select * from nowhere'),
        end: async (tx, text) => void tx.exec(text),
        undo: async (tx) => void tx.exec('insert or rollback into taken values (1)'),
      }
      await expectNothingWrong({
        store,
        library,
        abilities: { ends: true, savepoints: true, undone: true, slips: ['write'] },
        atOnce: 1,
        rows: async () =>
          plain
            .prepare('select text from business')
            .all()
            .map((row) => (row as { text: string }).text),
        messages: async () =>
          plain
            .prepare("select json_extract(cast(body as text), '$.tag') as tag from mersal_outbox")
            .all()
            .map((row) => (row as { tag: string }).tag),
      })
      kept.close()
      plain.close()
    })
  })
}

describe('programs on the memory store', () => {
  test(title, { timeout: 240_000 }, async () => {
    const store = memoryStore()
    const library: Library<MemoryTransaction> = {
      transaction: (work) => store.unitOfWork((tx) => work(tx)),
      insert: async (tx, text) => tx.set(text, true),
      savepoint: () => Promise.reject(new Error('the memory store has savepoints of the bus only')),
      fail: () => Promise.reject(new Error('refused')),
    }
    await expectNothingWrong({
      store,
      library,
      abilities: { ends: false, savepoints: false, slips: ['write'] },
      atOnce: 3,
      rows: () => store.unitOfWork(async (tx) => tx.entries().map(([key]) => key)),
      messages: async () =>
        (
          await store.outbox.claim({ limit: 10_000, claimMs: 60_000, token: 'the one who counts' })
        ).map(
          ({ message }) =>
            (JSON.parse(Buffer.from(message.body).toString()) as { tag: string }).tag,
        ),
    })
  })
})
