import { raw } from 'mysql2'
import { describe, expect, test, vi } from 'vitest'
import { command, Mersal } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { mysql, type MysqlConnection } from '../../../src/mysql.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../mysql/server.ts'
import { message } from '../../postgres/messages.ts'

const present = await serverAnswers()
/** A variable was given a value that it cannot have. */
const WRONG_VALUE = 1231
const Order = command<{ n: number }>('orders.place')

interface World extends AsyncDisposable {
  readonly app: Mersal<MysqlConnection>
  readonly database: TestDatabase
  readonly business: () => Promise<string[]>
  readonly messages: () => Promise<string[]>
}

async function world(): Promise<World> {
  const database = await testDatabase()
  const store = mysql({ pool: database.pool })
  const app = new Mersal<MysqlConnection>({
    name: 'shop',
    store,
    transport: memoryTransport(),
    routes: { 'orders.place': 'warehouse' },
    outbox: { runRelay: false },
    sendOnly: true,
    logger: false,
  })
  await app.start()
  return {
    app,
    database,
    business: async () =>
      (await database.query('select text from business order by text')).map((row) =>
        String(row['text']),
      ),
    messages: async () =>
      (await database.query('select body from mersal_outbox order by position')).map((row) =>
        String(row['body']),
      ),
    async [Symbol.asyncDispose]() {
      await app.stop()
      await store[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

const insert = (tx: MysqlConnection, text: string): Promise<unknown> =>
  tx.execute('insert into business values (?)', [text])

describe.skipIf(!present)('units on MySQL', () => {
  const ending = [
    'commit',
    'ROLLBACK',
    'begin',
    'start transaction',
    'create table t (a int)',
    'alter table business add column n int',
    'truncate table business',
    'drop table business',
    'rename table business to others',
    'lock tables business write',
    'unlock tables',
    'set autocommit = 1',
    'analyze table business',
    'optimize table business',
    '/*!40000 commit */',
    '/*M!100300 commit */',
    '-- a remark\ncommit',
    '# a remark\ncommit',
    'XA START "x"',
    'grant select on *.* to somebody',
    'set statement max_statement_time = 1 for commit',
    'SET STATEMENT max_statement_time = 1, sort_buffer_size = (select 100000 from dual) FOR rollback',
    'set statement max_statement_time = 1 for create table t (a int)',
    'begin not atomic commit; end',
    'if 1 then commit; end if',
    'create table temporary (a int)',
    'create table t (temporary int)',
    'create temporary sequence s',
    'create or replace temporary sequence s',
    'set default role none',
    '/*!99999 do 1 */ commit',
    '/*!50701 select 1 */ rollback',
  ]
  test.each(ending)('P1: the handle refuses %j before anything is sent', async (text) => {
    await using here = await world()
    await here.app.transaction(async (tx, { send }) => {
      await insert(tx, 'one')
      for (const run of [
        () => tx.query(text),
        () => tx.execute(text),
        () => tx.query({ sql: text }),
      ])
        await expect(run()).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_IS_OURS' })
      await send(Order, { n: 1 })
    })
    expect([await here.business(), await here.messages()]).toEqual([['one'], ['{"n":1}']])
  })

  const leaving = [
    'analyze select * from business',
    'analyze format=json select * from business',
    'create temporary table t (a int)',
    'create or replace temporary table t (a int)',
    'set @password = 1, @autocommit = 0',
    'set statement max_statement_time = 1 for select 1',
    `set statement sql_mode = concat('a', 'for commit') for select 1`,
    '/*!40000 do 1 */',
  ]
  test.each(leaving)(
    'the handle lets %j pass, which leaves the transaction alone',
    async (text) => {
      await using here = await world()
      await here.app.transaction(async (tx, { send }) => {
        await insert(tx, 'one')
        await tx.query(text).catch((error: unknown) => {
          if ((error as { errno?: number }).errno !== WRONG_VALUE) throw error
        })
        await send(Order, { n: 1 })
      })
      expect([await here.business(), await here.messages()]).toEqual([['one'], ['{"n":1}']])
    },
  )

  test.each(['commit', 'rollback', 'release', 'destroy', 'beginTransaction', 'changeUser', 'end'])(
    'P1: the handle refuses %s()',
    async (method) => {
      await using here = await world()
      await here.app.transaction(async (tx) => {
        const call = (): unknown => (tx as unknown as Record<string, () => unknown>)[method]?.()
        expect(call).toThrow(/belongs to a unit of Mersal/)
        await insert(tx, 'one')
      })
      expect(await here.business()).toEqual(['one'])
    },
  )

  test.each(['commit', 'rollback', 'commit; start transaction', 'create table t (a int)'])(
    'P1: a procedure that runs %j is noticed, and none of the messages is stored',
    async (text) => {
      await using here = await world()
      await here.database.query(`create procedure ends() begin ${text}; end`)
      const unit = here.app.transaction(async (tx, { send }) => {
        await insert(tx, 'one')
        await send(Order, { n: 1 })
        await tx.query('call ends()')
      })
      await expect(unit).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
      expect(await here.messages()).toEqual([])
    },
  )

  const hidden = [
    ...[
      'create view v as select 1',
      'truncate table business',
      'drop sequence if exists s',
      'analyze table business',
      'create sequence s',
      'set autocommit = 0; create view v as select 1',
      'set autocommit = 0; analyze table business; select * from business',
    ].map((text) => [text, 'call ends()'] as const),
    ['commit; start transaction', 'set statement max_statement_time = 10 for call ends()'],
    ['commit; start transaction', 'set/**/statement max_statement_time = 10 for call ends()'],
    ['do 0', `execute immediate 'commit'`],
    ['do 0', `execute immediate concat('roll', 'back')`],
    ['do 0', 'execute ending'],
  ] as const
  test.each(hidden)(
    'P1: %j behind %j is noticed, and none of the messages is stored',
    async (body, text) => {
      await using here = await world()
      await here.database.query(`create procedure ends() begin ${body}; end`)
      const unit = here.app.transaction(async (tx, { send }) => {
        await insert(tx, 'one')
        await send(Order, { n: 1 })
        await tx.query(`prepare ending from 'commit'`)
        await tx.query(text)
      })
      await expect(unit).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
      expect(await here.messages()).toEqual([])
    },
  )

  test('P1: what is written among the values of a statement is noticed as well', async () => {
    await using here = await world()
    const store = mysql({ pool: here.database.newPool({ multipleStatements: true }) })
    await using _closed = store
    const unit = store.unitOfWork(async (tx) => {
      await insert(tx, 'one')
      await tx.query('select 1 ?', [raw('; commit; begin')])
    })
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
  })

  test.each([
    'commit',
    'create view v as select 1',
    'set autocommit = 0; analyze table business; select * from business',
  ])(
    'P4: a handler whose procedure runs %j becomes a dead letter, and its record leaves the inbox',
    async (body) => {
      await using database = await testDatabase()
      await database.query(`create procedure ends() begin ${body}; end`)
      await using store = mysql({ pool: database.pool })
      const transport = memoryTransport()
      const app = new Mersal<MysqlConnection>({ name: 'shop', store, transport, logger: false })
      let runs = 0
      app.handle(Order, async (_message, { tx }) => {
        runs++
        await tx.query('call ends()')
      })
      await app.start()
      await app.transaction((_tx, { send }) => send(Order, { n: 1 }))
      await vi.waitFor(
        async () =>
          expect(await transport.deadLetters.list()).toMatchObject([
            { reason: 'transaction-ended' },
          ]),
        { timeout: 10_000 },
      )
      expect(runs).toBe(1)
      await vi.waitFor(async () =>
        expect(await database.query('select 1 from mersal_inbox')).toEqual([]),
      )
      await app.stop()
    },
  )

  test('a unit leaves no transaction behind on its connection, whatever completion_type says', async () => {
    await using here = await world()
    const pool = here.database.newPool({ connectionLimit: 1 })
    await using store = mysql({ pool })
    await store.open()
    await pool.query(`set completion_type = 'CHAIN'`)
    await store.unitOfWork((tx) => insert(tx, 'one'))
    await pool.query(`insert into business values ('two')`)
    expect(await here.business()).toEqual(['one', 'two'])
  })

  test('a procedure that ends nothing is no reason to fail', async () => {
    await using here = await world()
    await here.database.query(
      `create procedure adds() begin insert into business values ('two'); select 1; end`,
    )
    await here.app.transaction(async (tx, { send }) => {
      await insert(tx, 'one')
      await tx.query('call adds()')
      await tx.query('savepoint a')
      await tx.query('rollback to savepoint a')
      await send(Order, { n: 1 })
    })
    expect([await here.business(), await here.messages()]).toEqual([['one', 'two'], ['{"n":1}']])
  })

  test('P13: after a deadlock whose error was caught nothing more is written, and the unit fails', async () => {
    await using here = await world()
    const { app, database } = here
    await database.query('create table locked (id int primary key, n int)')
    await database.query('insert into locked values (1, 0), (2, 0)')
    const bump = (tx: MysqlConnection, id: number): Promise<unknown> =>
      tx.query('update locked set n = n + 1 where id = ?', [id])
    const gate = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const
    const unit = (first: 0 | 1): Promise<void> =>
      app.transaction(async (tx, { send }) => {
        await send(Order, { n: first })
        await bump(tx, first + 1)
        gate[first].resolve()
        await gate[1 - first]?.promise
        // Sent together: the second one must not run by itself when the first has undone
        // everything.
        await Promise.allSettled([bump(tx, 2 - first), insert(tx, `unit ${first}`)])
        await insert(tx, `late ${first}`).catch(() => {})
      })
    const outcomes = await Promise.allSettled([unit(0), unit(1)])
    const failed = outcomes.filter(({ status }) => status === 'rejected')
    expect(failed).toMatchObject([{ reason: { code: 'MERSAL_ROLLED_BACK' } }])
    const won = outcomes[0].status === 'fulfilled' ? 0 : 1
    expect(await here.business()).toEqual([`late ${won}`, `unit ${won}`])
    expect(await here.messages()).toEqual([`{"n":${won}}`])
  })

  test('a statement that fails spoils nothing: MySQL takes back that statement alone', async () => {
    await using here = await world()
    await here.app.transaction(async (tx, { send }) => {
      await insert(tx, 'one')
      await expect(tx.query('select * from nowhere')).rejects.toMatchObject({ errno: 1146 })
      await send(Order, { n: 1 })
    })
    expect([await here.business(), await here.messages()]).toEqual([['one'], ['{"n":1}']])
  })

  test('P3: what the work has left under way when its unit has ended writes nothing', async () => {
    await using here = await world()
    let kept: MysqlConnection | undefined
    let prepared: { execute(values: unknown[]): Promise<unknown> } | undefined
    await here.app.transaction(async (tx) => {
      kept = tx
      const connection = tx as unknown as { prepare(text: string): Promise<typeof prepared> }
      prepared = await connection.prepare('insert into business values (?)')
      await prepared?.execute(['one'])
    })
    await expect(insert(kept as MysqlConnection, 'two')).rejects.toMatchObject({
      code: 'MERSAL_UNIT_ENDED',
    })
    await expect(prepared?.execute(['three'])).rejects.toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    expect(await here.business()).toEqual(['one'])
  })

  test('P1: savepoints of the work and of the unit take their messages along', async () => {
    await using here = await world()
    await here.app.transaction(async (tx, { send, savepoint }) => {
      await send(Order, { n: 1 })
      await tx.query('savepoint a')
      await send(Order, { n: 2 })
      await tx.query('rollback to savepoint A')
      await send(Order, { n: 3 })
      const inner = savepoint(async () => {
        await insert(tx, 'dropped')
        await send(Order, { n: 4 })
        throw new Error('on purpose')
      })
      await expect(inner).rejects.toThrow('on purpose')
    })
    expect([await here.business(), await here.messages()]).toEqual([[], ['{"n":1}', '{"n":3}']])
  })
})

describe.skipIf(!present)('connections without a transaction on MySQL', () => {
  test('P3: a message, several messages and a record of the inbox are refused, and nothing is stored', async () => {
    await using here = await world()
    await using store = mysql({ pool: here.database.newPool() })
    await store.open()
    const connection = await here.database.pool.getConnection()
    const refused = { code: 'MERSAL_NOT_A_TRANSACTION' }
    const both = [message('one', 'k'), message('two')]
    for (const given of [[message('one')], [message('one', 'k')], both]) {
      await expect(store.outbox.save(connection, given)).rejects.toMatchObject(refused)
      await expect(store.outbox.saveWithin?.(connection, given)).rejects.toMatchObject(refused)
      const late = Promise.resolve(given)
      await expect(store.outbox.saveWithin?.(connection, late)).rejects.toMatchObject(refused)
    }
    const key = { consumer: 'finance', messageId: 'm' }
    await expect(store.tracker.track(connection, key)).rejects.toMatchObject(refused)
    connection.release()
    expect(await here.messages()).toEqual([])
    expect(await here.database.query('select 1 from mersal_inbox')).toEqual([])
  })

  test('P1: without autocommit every statement begins a transaction, whose end decides on the message', async () => {
    await using here = await world()
    const connection = await here.database.pool.getConnection()
    await connection.query('set autocommit = 0')
    const { send } = here.app.within(connection)
    await send(Order, { n: 1 })
    await connection.query('rollback')
    await send(Order, { n: 2 }, { partitionKey: 'a' })
    expect(await here.messages()).toEqual([])
    await connection.query('commit')
    connection.destroy()
    expect(await here.messages()).toEqual(['{"n":2}'])
  })
})

describe.skipIf(!present)('connections with settings of their own on MySQL', () => {
  const settings = [
    `set sql_mode = ''`,
    `set sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_UNSIGNED_SUBTRACTION'`,
    `set names latin1`,
    `set time_zone = '+05:30'`,
    `set autocommit = 0`,
    `set collation_connection = utf8mb4_general_ci`,
    `set session auto_increment_increment = 1, sql_safe_updates = 1`,
    `use information_schema`,
  ]
  test.each(settings)('P12: within(tx) under %j', async (text) => {
    await using here = await world()
    const { app, database } = here
    const connection = await database.pool.getConnection()
    try {
      await connection.query(text)
      await connection.beginTransaction()
      const { send } = app.within(connection)
      const headers = { note: `ключ "'\\ é` }
      await Promise.all([
        send(Order, { n: 1 }, { partitionKey: 'Kläve "\'\\%', headers }),
        send(Order, { n: 2 }, { partitionKey: 'kläve "\'\\% ', headers }),
        send(Order, { n: 3 }, { headers }),
      ])
      await connection.commit()
    } finally {
      connection.destroy()
    }
    const rows = await database.query(
      'select partition_key, headers, abs(timestampdiff(second, added_at, utc_timestamp())) < 60 as fresh from mersal_outbox order by position',
    )
    const keys = rows.map((row) => row['partition_key']?.toString())
    expect(keys).toEqual(['Kläve "\'\\%', 'kläve "\'\\% ', undefined])
    const notes = rows.map((row) => (JSON.parse(String(row['headers'])) as { note: string }).note)
    expect(notes).toEqual(Array(3).fill(`ключ "'\\ é`))
    expect(rows.map((row) => Number(row['fresh']))).toEqual([1, 1, 1])
  })

  test('P3: a message that nobody awaits leaves nothing behind a rollback, nor in the next transaction of the connection', async () => {
    await using here = await world()
    const { app, database } = here
    const calls: Promise<unknown>[] = []
    const Slow = command<{ n: number }>('orders.place', {
      '~standard': {
        version: 1,
        vendor: 'test',
        async validate(value: unknown) {
          for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve))
          return { value: value as { n: number } }
        },
      },
    })
    for (let n = 0; n < 30; n++) {
      const connection = await database.pool.getConnection()
      await connection.beginTransaction()
      const { send } = app.within(connection)
      for (const type of n % 3 === 0 ? [Slow, Order] : n % 3 === 1 ? [Order, Slow] : [Slow, Slow])
        calls.push(send(type, { n }, n % 2 === 0 ? {} : { partitionKey: 'a' }))
      await connection.rollback()
      await connection.beginTransaction()
      await insert(connection, 'kept')
      await connection.commit()
      connection.release()
    }
    const outcomes = await Promise.allSettled(calls)
    expect(await here.messages()).toEqual([])
    expect(await here.business()).toHaveLength(30)
    const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    expect(refused).not.toHaveLength(0)
    for (const reason of refused) expect(reason).toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
  })

  test('P3: a savepoint that is rolled back before a message was ready stores it not', async () => {
    await using here = await world()
    const { app, database } = here
    const connection = await database.pool.getConnection()
    await connection.beginTransaction()
    await connection.query('savepoint a')
    const gate = Promise.withResolvers<void>()
    const Slow = command<{ n: number }>('orders.place', {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: (value: unknown) => gate.promise.then(() => ({ value: value as { n: number } })),
      },
    })
    const call = app.within(connection).send(Slow, { n: 1 })
    await connection.query('rollback to a')
    gate.resolve()
    await expect(call).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
    await app.within(connection).send(Order, { n: 2 })
    await connection.commit()
    connection.release()
    expect(await here.messages()).toEqual(['{"n":2}'])
  })
})

describe.skipIf(!present)('servers that are not fit', () => {
  test('a message above what fits into a packet is refused before it is sent', async () => {
    await using here = await world()
    const Large = command<{ text: string }>('orders.place')
    const unit = here.app.transaction(async (tx, { send }) => {
      await insert(tx, 'one')
      await send(Large, { text: 'x'.repeat(16 * 1024 * 1024) })
    })
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_TOO_LARGE' })
    expect(await here.business()).toEqual([])
  })

  test('without the lock of a key the store does not open', async () => {
    await using database = await testDatabase()
    await using first = mysql({ pool: database.pool })
    await first.open()
    await database.query('delete from mersal_key_lock where slot = 7')
    await using second = mysql({ pool: database.newPool() })
    await expect(second.open()).rejects.toMatchObject({ code: 'MERSAL_STORE_UNSAFE' })
  })

  test('tables that are not there are told, and check creates none', async () => {
    await using database = await testDatabase()
    await using store = mysql({ pool: database.pool, migrate: 'check' })
    await expect(store.open()).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_MISSING' })
    await expect(store.admin.stats()).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_MISSING' })
    expect(await database.query(`show tables like 'mersal%'`)).toEqual([])
  })
})
