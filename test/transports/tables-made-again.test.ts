import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/telemetry.ts'
import type { Transport } from '../../src/core/transport.ts'
import { type Clock, systemClock } from '../../src/lib/async/clock.ts'
import { mysqlQueue } from '../../src/mysql.ts'
import { postgresQueue } from '../../src/postgres.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import * as mysql from '../mysql/server.ts'
import * as postgres from '../postgres/database.ts'
import { message } from '../postgres/messages.ts'

interface Place extends AsyncDisposable {
  open(): Transport
  /** Takes every row out of the tables, whose numbers begin anew, with a plain client. */
  empty(): Promise<void>
}

/** Time in which the looks at the tables are ten times as often. */
const clock: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms > 3000 ? ms / 10 : ms, signal),
}
const options = { logger: silentLogger, clock, pollIntervalMs: 50 }

async function onPostgres(): Promise<Place> {
  const database = await postgres.testDatabase()
  const { schema } = database
  const names = ['queue', 'queue_subscription', 'queue_message', 'queue_dead']
  const tables = names.map((name) => `${schema}.${name}`).join(', ')
  return {
    open: () => postgresQueue({ pool: database.newPool(), schema, ...options }),
    empty: async () => {
      await database.query(`truncate ${tables} restart identity cascade`)
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

async function onMysql(): Promise<Place> {
  const database = await mysql.testDatabase()
  return {
    open: () => mysqlQueue({ pool: database.newPool(), ...options }),
    async empty() {
      const found = await database.query(`show tables like 'mersal\\_queue%'`)
      const client = await database.pool.getConnection()
      await client.query('set foreign_key_checks = 0')
      for (const row of found) await client.query(`truncate table ${String(Object.values(row)[0])}`)
      client.destroy()
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

async function onSqlite(): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-again-'))
  const path = join(folder, 'queue.db')
  return {
    open: () => sqliteQueue({ path, ...options }),
    async empty() {
      const database = new DatabaseSync(path)
      database.exec('delete from mersal_subscriptions; delete from mersal_queues')
      database.close()
    },
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }),
  }
}

const places = {
  PostgreSQL: { open: onPostgres, present: await postgres.serverAnswers() },
  MariaDB: { open: onMysql, present: await mysql.serverAnswers() },
  SQLite: { open: onSqlite, present: true },
}

/** The types of the messages that came to a queue. */
async function read(transport: Transport, queue: string): Promise<readonly string[]> {
  const got: string[] = []
  await transport.subscribe(queue, [`to.${queue}`])
  await transport.consume({ queue, concurrency: 5 }, async ({ message: { type } }) => {
    got.push(type)
    return { kind: 'ack' }
  })
  return got
}

describe.each(Object.entries(places))('queues in %s', (_, { open, present }) => {
  test.skipIf(!present)(
    'P2 P10: whose tables are emptied while they are read are made again, and nobody gets messages of another one',
    { timeout: 30_000 },
    async () => {
      await using place = await open()
      await using stack = new AsyncDisposableStack()
      const [one, two, three] = [place.open(), place.open(), place.open()].map((transport) =>
        stack.use(transport),
      ) as [Transport, Transport, Transport]
      const first = await read(one, 'first')
      const second = await read(two, 'second')
      await place.empty()
      // The first number of the new table belongs to another queue than before.
      await three.subscribe('second', ['to.second'])
      const send = async (
        kind: 'queue' | 'topic',
        name: string,
        label: string,
      ): Promise<string> => {
        const to = { transport: 'default', kind, name }
        return (await three.publish([{ ...message(label), to }])[0])?.kind ?? 'nothing'
      }
      expect(await send('queue', 'second', 'early')).toBe('confirmed')
      for (const queue of ['first', 'second']) {
        await expect
          .poll(() => send('topic', `to.${queue}`, queue), { timeout: 9000 })
          .toBe('confirmed')
        expect(await send('queue', queue, `${queue}.again`)).toBe('confirmed')
      }
      await expect.poll(() => second.length, { timeout: 9000 }).toBeGreaterThanOrEqual(3)
      await expect.poll(() => first.length, { timeout: 9000 }).toBeGreaterThanOrEqual(2)
      expect(first.filter((type) => type.includes('second') || type.includes('early'))).toEqual([])
      expect(second.filter((type) => type.includes('first'))).toEqual([])
    },
  )
})
