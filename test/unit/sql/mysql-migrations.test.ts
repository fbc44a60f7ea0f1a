import { expect, test } from 'vitest'
import type { MysqlPool, MysqlQuery } from '../../../src/sql/mysql/client.ts'
import { migrate } from '../../../src/sql/mysql/migrate.ts'
import { ownOn } from '../../../src/sql/mysql/own.ts'
import { storeTables } from '../../../src/stores/mysql/schema.ts'

/** A server that answers everything, and what it was asked. */
function askedServer(mine: number): { readonly asked: MysqlQuery[]; readonly pool: MysqlPool } {
  const asked: MysqlQuery[] = []
  const answer = (query: MysqlQuery): Promise<unknown> => {
    asked.push(query)
    return Promise.resolve([query.sql.includes('max(version)') ? [{ version: 1 }] : [{ mine }]])
  }
  const connection = {
    query: answer,
    execute: answer,
    beginTransaction: () => Promise.resolve(),
    on: () => {},
    release: () => {},
    destroy: () => {},
  }
  return {
    asked,
    pool: { getConnection: () => Promise.resolve(connection), end: () => Promise.resolve() },
  }
}

const tables = storeTables('shop')

test('a node waits for another one as long as the server does, and then says who is busy', async () => {
  const { asked, pool } = askedServer(0)
  await expect(migrate(ownOn(pool, 'shop'), tables, 'auto')).rejects.toMatchObject({
    code: 'MERSAL_STORE_BUSY',
    message: expect.stringContaining('for more than 60 s') as string,
  })
  const lock = asked.find(({ sql }) => sql.includes('get_lock('))
  expect(lock?.sql).toContain(', 60)')
  expect(lock?.timeout).toBeGreaterThan(60_000)
})

test('no statement of a step is cut off here, since the server would go on with it', async () => {
  const { asked, pool } = askedServer(1)
  await migrate(ownOn(pool, 'shop'), tables, 'auto')
  const of = (text: string): (number | undefined)[] =>
    asked.filter(({ sql }) => sql.includes(text)).map(({ timeout }) => timeout)
  expect(of('execute mersal_step')).toEqual(Array.from({ length: 5 }))
  expect(of('max(version)').every((timeout) => (timeout ?? 0) > 0)).toBe(true)
})

test('a column and its key are two statements, so that the column costs nothing', () => {
  const [, step] = tables.steps
  const alters = step?.statements.filter((text) => text.includes('alter table')) ?? []
  expect(alters.map((text) => /add (column|key)/.exec(text)?.[1])).toEqual(['column', 'key'])
  expect(alters.filter((text) => /add column.*add key/.test(text))).toEqual([])
})
