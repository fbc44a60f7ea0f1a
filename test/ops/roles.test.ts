import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { command, Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { postgres } from '../../src/postgres.ts'
import { serverAnswers, serverUrl } from '../postgres/database.ts'

const present = await serverAnswers()
const Work = command<{ n: number }>('work')
type Role = 'migrator' | 'relay' | 'app'

interface Bench {
  readonly schema: string
  readonly as: (role: Role) => pg.Pool
  /** Undefined: it is allowed. */
  readonly refused: (role: Role, sql: string) => Promise<string | undefined>
}

/** The roles of `ops/postgres` under names of their own, and tables that the migrator has made. */
async function openBench(): Promise<Bench> {
  const schema = `roles_${randomBytes(6).toString('hex')}`
  const text = (name: string): string =>
    readFileSync(join(import.meta.dirname, '../../ops/postgres', name), 'utf8')
      .replaceAll(/\bmersal_(app|relay|migrator)\b/g, `${schema}_$1`)
      .replaceAll(/\bmersal\b(?=[.;]| authorization| to )/g, schema)
  const pools: pg.Pool[] = []
  const open = (options: string): pg.Pool => {
    const pool = new pg.Pool({ connectionString: serverUrl, max: 8, options })
    pools.push(pool)
    return pool
  }
  const administrator = open('')
  onTestFinished(async () => {
    const roles = ['app', 'relay', 'migrator'].map((role) => `${schema}_${role}`).join(', ')
    await administrator.query(
      `drop schema ${schema} cascade; drop owned by ${roles}; drop role ${roles}`,
    )
    await Promise.all(pools.map((pool) => pool.end()))
  })
  const as = (role: Role): pg.Pool => open(`-c role=${schema}_${role}`)
  await administrator.query(text('roles.sql'))
  await using store = postgres({ pool: as('migrator'), schema, migrate: 'auto' })
  await store.open()
  const migrator = as('migrator')
  // Repeating it changes nothing.
  for (const _ of [1, 2]) await migrator.query(text('grants.sql'))
  const refused: Bench['refused'] = async (role, sql) => {
    try {
      await as(role).query(sql.replaceAll('mersal', schema))
      return undefined
    } catch (error) {
      return (error as { code?: string }).code
    }
  }
  return { schema, as, refused }
}

describe.skipIf(!present)('the roles of ops/postgres', () => {
  test('let an app send and handle, and a relay publish', async () => {
    const { schema, as } = await openBench()
    await using broker = memoryTransport()
    const handled = Promise.withResolvers<number>()
    const app = new Mersal({
      name: 'shop',
      store: postgres({ pool: as('app'), schema, migrate: 'check' }),
      transport: broker,
      outbox: { runRelay: false },
    })
    app.handle(Work, ({ n }) => handled.resolve(n))
    const relay = new Mersal({
      name: 'relay',
      store: postgres({ pool: as('relay'), schema, migrate: 'check' }),
      transport: broker,
      sendOnly: true,
    })
    await app.start()
    await relay.start()
    await app.transaction(async (_, { sendLocal }) => {
      await sendLocal(Work, { n: 7 }, { partitionKey: 'k' })
    })
    expect(await handled.promise).toBe(7)
    await expect
      .poll(async () => (await as('relay').query(`select 1 from ${schema}.outbox`)).rowCount)
      .toBe(0)
    await relay.stop()
    await app.stop()
  })

  test('refuse whatever is not the work of an app', async () => {
    const { refused } = await openBench()
    const statements = [
      'delete from mersal.outbox',
      'update mersal.outbox set attempts = 0',
      'select 1 from mersal.dead',
      'insert into mersal.pause select',
      'update mersal.inbox set message_id = message_id',
      'insert into mersal.migration (version, name) values (99, $$x$$)',
      'create table mersal.other (n integer)',
      'drop table mersal.outbox',
    ]
    for (const sql of statements) expect(await refused('app', sql), sql).toBe('42501')
    expect(await refused('app', 'select 1 from mersal.outbox')).toBeUndefined()
  })

  test('refuse whatever is not the work of a relay', async () => {
    const { refused } = await openBench()
    const statements = [
      'insert into mersal.inbox select',
      'insert into mersal.migration (version, name) values (99, $$x$$)',
      'create table mersal.other (n integer)',
      'alter table mersal.outbox add column n integer',
      'drop table mersal.dead',
    ]
    for (const sql of statements) expect(await refused('relay', sql), sql).toBe('42501')
    expect(await refused('relay', 'delete from mersal.dead')).toBeUndefined()
  })
})
