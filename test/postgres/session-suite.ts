import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { Socket } from 'node:net'
import { afterAll, describe, onTestFinished, test, vi } from 'vitest'
import { isMersalError, Mersal, type Sender, type Store } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { postgres, type PostgresPool, type Session } from '../../src/postgres.ts'
import { Order, rollback, SlowOrder, ways } from './forgotten.ts'
import { expectNothingWrong } from '../user-code/expect.ts'
import { reusedSchemas, serverAnswers, serverUrl, type TestDatabase } from './database.ts'

/** What a library has to be told for its tests; `Tx` is its own handle. */
export interface LibraryUnderTest<Tx> {
  readonly session: Session<Tx>
  /** Opens a transaction with the library itself, as its users do. */
  transaction(work: (tx: Tx) => Promise<void>): Promise<void>
  /** Adds a business row with the library itself. */
  insert(tx: Tx, text: string): Promise<void>
  /** Runs the work in a savepoint of the library. */
  savepoint(tx: Tx, work: (inner: Tx) => Promise<void>): Promise<void>
  /** Fails in the database, and the transaction with it. */
  fail(tx: Tx): Promise<void>
  /** Runs a text that would end the transaction, as a statement of the library. */
  end?(tx: Tx, text: string): Promise<void>
  /** A statement whose values look as if they ended it. */
  harmless?(tx: Tx): Promise<void>
  /** Methods of the library that end a transaction. */
  readonly endingCalls?: readonly ((tx: Tx) => unknown)[]
  /** Handles that are no transaction. */
  readonly roots: readonly unknown[]
  close(): Promise<void>
  /**
   * A statement that has failed fails the transaction of the library, also if a savepoint has taken
   * it back.
   */
  readonly failsForGood?: true
  /**
   * The database has one connection, so that nobody can look into it while a transaction is open.
   */
  readonly oneConnection?: true
  /** The database takes back a statement that has failed, and nothing else. */
  readonly failsAlone?: true
  /**
   * The library itself may write when the work has ended, so that late statements are not told from
   * its own.
   */
  readonly writesUntilCommit?: true
  /** A transaction inside of a handle waits for the one before it on the same handle. */
  readonly nestsInTurn?: true
  /** How deep its savepoints may be nested. */
  readonly savepointDepth?: number
}

/** Where the suite runs. */
export interface SuiteDatabase extends AsyncDisposable, Pick<TestDatabase, 'schema' | 'query'> {
  readonly pool: PostgresPool
  /** Default: one of the store's own. */
  readonly relayPool?: PostgresPool
}

/** What the suite asks of a database. */
export interface SuiteStore extends AsyncDisposable {
  store<Tx>(session: Session<Tx>): Store<Tx>
  /** Texts of the business rows, sorted. */
  readonly business: () => Promise<string[]>
  /** Bodies of the messages in the outbox, in the order of their positions. */
  readonly messages: () => Promise<string[]>
  /** Records in the inbox. */
  recorded(): Promise<number>
}

function onPostgres(database: SuiteDatabase): SuiteStore {
  const { pool, relayPool, schema } = database
  return {
    store: (session) =>
      postgres({ pool, schema, session, ...(relayPool === undefined ? {} : { relayPool }) }),
    business: async () =>
      (await database.query(`select text from ${schema}.business order by text`)).map((row) =>
        String(row['text']),
      ),
    messages: async () =>
      (
        await database.query(
          `select convert_from(body, 'UTF8') as body from ${schema}.outbox order by position`,
        )
      ).map((row) => String(row['body'])),
    recorded: async () =>
      Number(
        (await database.query(`select count(*)::text as n from ${schema}.inbox`))[0]?.['n'] ?? 0,
      ),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

const present = await serverAnswers()

/** Texts that end a transaction. */
const endings = [
  'commit',
  'COMMIT',
  'rollback',
  'Rollback Work',
  'end',
  'ABORT',
  'commit and chain',
  "prepare transaction 'mersal'",
  'commit; select 1',
  'select 1; rollback',
  '/* the end /* of it */ */ commit',
  '-- the end\nrollback',
  ';;commit',
]

interface World<Tx> extends AsyncDisposable {
  readonly app: Mersal<Tx>
  readonly library: LibraryUnderTest<Tx>
  readonly database: SuiteStore
  readonly business: () => Promise<string[]>
  /** Bodies of the messages in the outbox, in the order of their positions. */
  readonly messages: () => Promise<string[]>
}

async function world<Tx>(database: SuiteStore, library: LibraryUnderTest<Tx>): Promise<World<Tx>> {
  const store = database.store(library.session)
  const app = new Mersal<Tx>({
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
    library,
    database,
    business: database.business,
    messages: database.messages,
    async [Symbol.asyncDispose]() {
      await app.stop()
      await store[Symbol.asyncDispose]()
      await library.close()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** Every session adapter passes these, with the real library on a real server. */
export function sessionSuite<Tx>(
  name: string,
  connect: (database: TestDatabase, url: string) => Promise<LibraryUnderTest<Tx>>,
): void {
  describe.skipIf(!present)(`session of ${name}`, () => {
    const schemas = reusedSchemas()
    afterAll(() => schemas[Symbol.asyncDispose]())
    sessionScenarios(async () => {
      const database = await schemas.next()
      return { database, library: await connect(database, serverUrl) }
    })
  })
}

/** The same, on whatever database. */
export function sessionScenarios<Tx>(
  opened: () => Promise<{
    database: SuiteDatabase | SuiteStore
    library: LibraryUnderTest<Tx>
  }>,
): void {
  const open = async (): Promise<{ database: SuiteStore; library: LibraryUnderTest<Tx> }> => {
    const { database, library } = await opened()
    return { database: 'store' in database ? database : onPostgres(database), library }
  }
  const scenario = (title: string, run: (world: World<Tx>) => Promise<void>): void => {
    test(title, async () => {
      const { database, library } = await open()
      await using here = await world(database, library)
      await run(here)
    })
  }

  scenario(
    'a unit of work commits the row and the message, with the handle of the library',
    async ({ app, library, business, messages }) => {
      await app.transaction(async (tx, { send }) => {
        await library.insert(tx, 'one')
        await send(Order, { n: 1 }, { partitionKey: 'a' })
      })
      assert.deepEqual([await business(), await messages()], [['one'], ['{"n":1}']])
    },
  )

  scenario(
    'a unit of work that throws leaves neither',
    async ({ app, library, business, messages }) => {
      const failure = new Error('on purpose')
      const unit = app.transaction(async (tx, { send }) => {
        await library.insert(tx, 'one')
        await send(Order, { n: 1 })
        throw failure
      })
      await assert.rejects(unit, (error) => error === failure)
      assert.deepEqual([await business(), await messages()], [[], []])
    },
  )

  scenario(
    'a message joins the transaction that the library opened itself',
    async ({ app, library, business, messages }) => {
      await library.transaction(async (tx) => {
        await library.insert(tx, 'one')
        await app.within(tx).send(Order, { n: 1 }, { headers: { note: 'what? $1 ?? :x' } })
        if (library.oneConnection !== true)
          assert.deepEqual(await messages(), [], 'nobody sees it before the commit')
      })
      assert.deepEqual([await business(), await messages()], [['one'], ['{"n":1}']])
    },
  )

  scenario(
    'a transaction of the library that throws leaves neither',
    async ({ app, library, business, messages }) => {
      const attempt = library.transaction(async (tx) => {
        await library.insert(tx, 'one')
        await app.within(tx).send(Order, { n: 1 })
        throw new Error('on purpose')
      })
      await assert.rejects(attempt, /on purpose/)
      assert.deepEqual([await business(), await messages()], [[], []])
    },
  )

  scenario(
    'a handle that is no transaction is refused and nothing is stored',
    async ({ app, library, messages }) => {
      for (const root of [...library.roots, undefined, null, 1, 'text', {}]) {
        const attempt = async (): Promise<unknown> => app.within(root as Tx).send(Order, { n: 1 })
        await assert.rejects(attempt, (error) => isMersalError(error, 'MERSAL_NOT_A_TRANSACTION'))
      }
      assert.deepEqual(await messages(), [])
    },
  )

  scenario(
    'a savepoint that is rolled back takes what was sent inside it along',
    async ({ app, library, business, messages }) => {
      await library.transaction(async (tx) => {
        await library.insert(tx, 'kept')
        await app.within(tx).send(Order, { n: 1 })
        const inner = library.savepoint(tx, async (savepoint) => {
          await library.insert(savepoint, 'dropped')
          await app.within(savepoint).send(Order, { n: 2 })
          throw new Error('on purpose')
        })
        await assert.rejects(inner, /on purpose/)
        await app.within(tx).send(Order, { n: 3 })
      })
      assert.deepEqual([await business(), await messages()], [['kept'], ['{"n":1}', '{"n":3}']])
    },
  )

  scenario(
    'P1: a delayed message is taken back with the row of the library, or neither happens',
    async ({ app, library, business, messages }) => {
      const later = { delayMs: 600_000 }
      const sent = await app.transaction((_, { send }) =>
        Promise.all([1, 2, 3].map((n) => send(Order, { n }, later))),
      )
      const [one = '', two = '', three = ''] = sent
      await app.transaction(async (tx, { send, cancel }) => {
        await library.insert(tx, 'unit')
        assert.equal(await cancel(one), 'cancelled')
        const own = await send(Order, { n: 4 }, later)
        const undone = library.savepoint(tx, async () => {
          assert.equal(await cancel(own), 'cancelled')
          assert.equal(await cancel(three), 'cancelled')
          throw new Error('on purpose')
        })
        await assert.rejects(undone, /on purpose/)
        const dropped = await send(Order, { n: 5 }, later)
        assert.equal(await cancel(dropped), 'cancelled')
      })
      assert.deepEqual(await messages(), ['{"n":2}', '{"n":3}', '{"n":4}'])
      const failing = library.transaction(async (tx) => {
        assert.equal(await app.within(tx).cancel(two), 'cancelled')
        throw new Error('on purpose')
      })
      await assert.rejects(failing, /on purpose/)
      await library.transaction(async (tx) => {
        assert.equal(await app.within(tx).cancel(three), 'cancelled')
        assert.equal(await app.within(tx).cancel(one), 'unknown')
        await library.insert(tx, 'within')
      })
      assert.deepEqual(await messages(), ['{"n":2}', '{"n":4}'])
      assert.deepEqual(await business(), ['unit', 'within'])
      for (const root of library.roots) {
        const attempt = async (): Promise<unknown> => app.within(root as Tx).cancel(two)
        await assert.rejects(attempt, (error) => isMersalError(error, 'MERSAL_NOT_A_TRANSACTION'))
      }
      assert.deepEqual(await messages(), ['{"n":2}', '{"n":4}'])
    },
  )

  scenario(
    'P1: the state of a saga commits with the row of the library, or neither is there',
    async ({ library, database, business }) => {
      await using store = database.store(library.session)
      await store.open()
      const { sagas, unitOfWork } = store
      assert.ok(sagas !== undefined)
      await sagas.open()
      const key = { app: 'shop', saga: 'order', key: "o'1 $1 ?" }
      const of = { id: randomUUID(), version: 1, timeouts: '{"last":0,"numbers":{}}' }
      const change = (text: string): Promise<void> =>
        unitOfWork(async (tx) => {
          const before = await sagas.load(tx, key)
          await library.insert(tx, text)
          const state = JSON.stringify([...(JSON.parse(before?.state ?? '[]') as string[]), text])
          await sagas.store(tx, key, { ...of, state })
          if (text === 'undone') throw new Error('on purpose')
        })
      await change('one')
      await assert.rejects(change('undone'), /on purpose/)
      await change('two')
      const [found] = await sagas.list({ limit: 10 })
      assert.deepEqual(JSON.parse(found?.state ?? ''), ['one', 'two'])
      assert.deepEqual(await business(), ['one', 'two'])
      await unitOfWork(async (tx) => {
        await sagas.load(tx, key)
        await sagas.store(tx, key, undefined)
      })
      assert.deepEqual(await sagas.list({ limit: 10 }), [])
    },
  )

  scenario(
    'P1: the response of a request commits with the row of the library, or neither is there',
    async ({ library, database, business }) => {
      await using store = database.store(library.session)
      await store.open()
      const { once, unitOfWork } = store
      assert.ok(once !== undefined)
      await once.open()
      const key = { app: 'shop', scope: '', key: "k'1 $1 ?" }
      const run = (text: string): Promise<unknown> =>
        unitOfWork(async (tx) => {
          const claimed = await once.claim(tx, key, { fingerprint: 'f', keepMs: 60_000 })
          if (claimed.kind !== 'first') return claimed
          await library.insert(tx, text)
          await once.keep(tx, key, JSON.stringify({ response: text }))
          if (text === 'undone') throw new Error('on purpose')
          return claimed
        })
      await assert.rejects(run('undone'), /on purpose/)
      assert.deepEqual(await run('one'), { kind: 'first' })
      const kept = { kind: 'kept', fingerprint: 'f', response: '{"response":"one"}' }
      assert.deepEqual(await run('two'), kept)
      assert.deepEqual(await business(), ['one'])
    },
  )

  test('P1 P3: whatever a program does, its rows and messages share one fate', {
    timeout: 240_000,
  }, async () => {
    const { database, library } = await open()
    await using _closed = { [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() }
    const store = database.store(library.session)
    await expectNothingWrong({
      store,
      library,
      abilities: {
        ends: library.end !== undefined,
        savepoints: true,
        nestsInTurn: library.nestsInTurn === true,
        ...(library.writesUntilCommit === true
          ? {}
          : { slips: library.failsAlone === true ? ['write'] : ['fail', 'write'] }),
        ...(library.savepointDepth === undefined ? {} : { depth: library.savepointDepth }),
      },
      // One after the other: keys of within() are locked one by one, so that two of them may wait
      // for each other.
      atOnce: 1,
      rows: database.business,
      messages: async () =>
        (await database.messages()).map((body) => (JSON.parse(body) as { tag: string }).tag),
    })
    await store[Symbol.asyncDispose]()
    await library.close()
  })

  scenario('messages keep the order in which they were sent', async ({ app, messages }) => {
    const expected = Array.from({ length: 60 }, (_, n) => JSON.stringify({ n }))
    await app.transaction(async (_tx, { send }) => {
      for (let n = 0; n < 30; n++) await send(Order, { n }, { partitionKey: `key-${n % 3}` })
    })
    await app.transaction(async (_tx, { send }) => {
      for (let n = 30; n < 60; n++) await send(Order, { n }, { partitionKey: `key-${n % 3}` })
    })
    assert.deepEqual(await messages(), expected)
  })

  scenario(
    'P1: a savepoint of the library that is rolled back in a unit takes along what was sent inside',
    async (here) => {
      const { app, library, business, messages } = here
      await app.transaction(async (tx, { send }) => {
        await send(Order, { n: 1 })
        await library.savepoint(tx, async (inner) => {
          await library.insert(inner, 'kept')
          await send(Order, { n: 2 })
        })
        const failing = library.savepoint(tx, async (inner) => {
          await library.insert(inner, 'dropped')
          await send(Order, { n: 3 })
          await send(Order, { n: 4 })
          throw new Error('on purpose')
        })
        await assert.rejects(failing, /on purpose/)
        await send(Order, { n: 5 })
      })
      assert.deepEqual(
        [await business(), await messages()],
        [['kept'], ['{"n":1}', '{"n":2}', '{"n":5}']],
      )
    },
  )

  scenario(
    'P1: savepoint() of a unit takes rows and messages along, also when the database has failed inside',
    async (here) => {
      const { app, library, business, messages } = here
      await app.transaction(async (tx, { send, savepoint }) => {
        await savepoint(async () => {
          await library.insert(tx, 'kept')
          await send(Order, { n: 1 })
          const inner = savepoint(async () => {
            await send(Order, { n: 2 })
            if (library.failsForGood === true) throw new Error('on purpose')
            await library.fail(tx)
          })
          await assert.rejects(inner)
        })
        await Promise.all([send(Order, { n: 3 }), send(Order, { n: 4 }), send(Order, { n: 5 })])
      })
      assert.deepEqual(
        [await business(), await messages()],
        [['kept'], ['{"n":1}', '{"n":3}', '{"n":4}', '{"n":5}']],
      )
    },
  )

  for (const text of ['commit', 'rollback']) {
    scenario(
      `P3: a unit whose transaction was ended by '${text}' is refused or fails, and stores none of its messages`,
      async (here) => {
        const { app, library, messages } = here
        const unit = app.transaction(async (tx, { send }) => {
          await library.insert(tx, 'one')
          await send(Order, { n: 1 })
          await library.session.executor(tx).query(text)
          await send(Order, { n: 2 })
        })
        await assert.rejects(unit, (error) =>
          ['MERSAL_TRANSACTION_ENDED', 'MERSAL_TRANSACTION_IS_OURS'].some((code) =>
            isMersalError(error, code as never),
          ),
        )
        assert.deepEqual(await messages(), [])
      },
    )
  }

  scenario(
    'P3: no raw statement of the library ends the transaction of a unit, however it is written',
    async ({ app, library, business, messages }) => {
      const end = async (tx: Tx, text: string): Promise<void> => {
        assert.ok('end' in library, 'every library runs raw statements')
        await library.end?.(tx, text)
      }
      const ours = (error: unknown): boolean => isMersalError(error, 'MERSAL_TRANSACTION_IS_OURS')
      await app.transaction(async (tx, { send }) => {
        await library.insert(tx, 'one')
        for (const text of endings) await assert.rejects(end(tx, text), ours, text)
        for (const call of library.endingCalls ?? [])
          await assert.rejects(async () => call(tx), ours, String(call))
        await library.savepoint(tx, async (inner) => {
          for (const text of endings)
            await assert.rejects(end(inner, text), ours, `${text} in a savepoint`)
        })
        await library.harmless?.(tx)
        await send(Order, { n: 1 })
        await library.insert(tx, 'two')
      })
      assert.deepEqual([await business(), await messages()], [['one', 'two'], ['{"n":1}']])
      // In a transaction that the library itself has opened, it is its own affair.
      await library.transaction(async (tx) => library.insert(tx, 'three'))
      assert.deepEqual(await business(), ['one', 'three', 'two'])
    },
  )

  scenario(
    'P4: a handler that has ended its transaction becomes a dead letter, never a silent duplicate',
    async ({ library, database }) => {
      if (library.oneConnection === true) return
      const transport = memoryTransport()
      const store = database.store(library.session)
      const app = new Mersal<Tx>({
        name: 'shop',
        store,
        transport,
        logger: false,
        receive: { immediateRetries: 0, maxDeliveries: 2 },
      })
      app.handle(Order, async ({ n }, { tx, sendLocal }) => {
        await sendLocal(Order, { n: n + 1 })
        await library.session.executor(tx).query('commit')
        if (n === 2) throw new Error('on purpose')
      })
      await app.start()
      await app.direct.sendLocal(Order, { n: 1 })
      await app.direct.sendLocal(Order, { n: 2 })
      await vi.waitFor(async () => assert.equal((await transport.deadLetters.list()).length, 2), {
        timeout: 15_000,
      })
      const reasons = (await transport.deadLetters.list()).map(({ reason }) => reason)
      assert.equal(
        reasons.every((reason) => reason === 'transaction-ended' || reason === 'handler-failed'),
        true,
      )
      assert.equal(await database.recorded(), 0)
      await app.stop()
      await store[Symbol.asyncDispose]()
    },
  )

  scenario(
    'P1: what goes on after a unit has ended writes nothing, whether it was given up or came to its end',
    async (here) => {
      const { app, library, business } = here
      const given = new AbortController()
      const late: Promise<unknown>[] = []
      const goOn = async (tx: Tx, until: Promise<unknown>): Promise<void> => {
        await until
        for (let n = 0; n < 3; n++) await library.insert(tx, 'late').catch(() => {})
      }
      const gate = Promise.withResolvers<void>()
      const unit = app.transaction(
        async (tx) => {
          await library.insert(tx, 'given up')
          given.abort(new Error('too slow'))
          late.push(goOn(tx, gate.promise))
          await late[0]
        },
        { signal: given.signal },
      )
      if (library.oneConnection === true) gate.resolve()
      await assert.rejects(unit, /too slow/)
      gate.resolve()
      const end = Promise.withResolvers<void>()
      await app.transaction(async (tx) => {
        await library.insert(tx, 'whole')
        late.push(goOn(tx, end.promise))
      })
      end.resolve()
      await Promise.all(late)
      assert.deepEqual(await business(), ['whole'])
    },
  )

  scenario(
    'P1: a savepoint that outlives its unit writes nothing, and takes nothing from a neighbour',
    async ({ app, library, business }) => {
      const given = new AbortController()
      const gate = Promise.withResolvers<void>()
      let late: Promise<unknown> = Promise.resolve()
      const unit = app.transaction(
        async (tx) => {
          await library.insert(tx, 'before')
          late = library.savepoint(tx, async (inner) => {
            await library.insert(inner, 'given up')
            given.abort(new Error('too slow'))
            await gate.promise
            await library.insert(inner, 'late')
          })
          await late
        },
        { signal: given.signal },
      )
      if (library.oneConnection === true) gate.resolve()
      await assert.rejects(unit, /too slow/)
      // Of one name in most libraries, and on the connection that has just become free.
      await app.transaction((tx) =>
        library.savepoint(tx, async (inner) => {
          await library.insert(inner, 'neighbour')
          gate.resolve()
          await assert.rejects(late)
        }),
      )
      assert.deepEqual(await business(), ['neighbour'])
    },
  )

  scenario(
    'P1: a unit that ends while a savepoint is open has either failed, or its row is there',
    async ({ app, library, business }) => {
      const gate = Promise.withResolvers<void>()
      let late: Promise<unknown> = Promise.resolve()
      const unit = app.transaction(async (tx) => {
        await library.insert(tx, 'whole')
        late = library.savepoint(tx, async (inner) => {
          await gate.promise
          await library.insert(inner, 'late')
        })
        // Some libraries wait for it at the end.
        setTimeout(() => gate.resolve(), 200)
      })
      const [whole] = await Promise.allSettled([unit])
      const [part] = await Promise.allSettled([late])
      const stored = await business()
      assert.equal(stored.includes('whole'), whole.status === 'fulfilled')
      // Whatever is left open would be committed by the next one on the connection.
      await app.transaction((tx) => library.insert(tx, 'next'))
      const expected = whole.status === 'rejected' ? ['next'] : ['next', 'whole']
      const there = await business()
      // What nobody has waited for may be there with the rest.
      assert.deepEqual(
        there.filter((text) => text !== 'late'),
        expected,
      )
      if (whole.status === 'rejected' || part.status === 'rejected')
        assert.ok(!there.includes('late'))
    },
  )

  scenario(
    'P1: nothing is written behind the ROLLBACK of a unit that was given up',
    async ({ app, library, business }) => {
      for (let round = 0; round < 5; round++) {
        const given = new AbortController()
        const late: Promise<unknown>[] = []
        const over = Promise.withResolvers<void>()
        const unit = app.transaction(
          async (tx) => {
            await library.insert(tx, 'given up')
            given.abort(new Error('too slow'))
            for (let turn = 0; turn < 60; turn++) {
              late.push(library.insert(tx, 'late').catch(() => {}))
              await new Promise((resolve) => setImmediate(resolve))
            }
            over.resolve()
          },
          { signal: given.signal },
        )
        await assert.rejects(unit, /too slow/)
        await over.promise
        await Promise.all(late)
      }
      assert.deepEqual(await business(), [])
    },
  )

  scenario(
    'P1 P3: no statement of the work gets in between its end and the COMMIT',
    async ({ library, database, business }) => {
      await using store = database.store(library.session)
      await store.open()
      const late: Promise<string>[] = []
      const insertLate = (tx: Tx): void => {
        const inserted = library.insert(tx, 'late')
        late.push(
          inserted.then(
            () => 'stored',
            () => 'refused',
          ),
        )
      }
      await store.unitOfWork(async (tx) => {
        await library.insert(tx, 'whole')
        behindNextAnswer(() => insertLate(tx))
      })
      const outcomes = new Set(await Promise.all(late))
      if (library.writesUntilCommit === true) return
      assert.deepEqual([await business(), [...outcomes]], [['whole'], ['refused']])
    },
  )

  scenario(
    'a swallowed error of the database is no commit',
    async ({ app, library, business, messages }) => {
      if (library.failsAlone === true) return
      const unit = app.transaction(async (tx) => {
        await library.insert(tx, 'one')
        await library.fail(tx).catch(() => {})
      })
      await assert.rejects(unit, (error) => isMersalError(error, 'MERSAL_ROLLED_BACK'))
      assert.deepEqual([await business(), await messages()], [[], []])
    },
  )

  for (const { name, type, keyed, many } of ways) {
    scenario(
      `${name} that nobody awaits leaves nothing behind a rollback, 20 of 20 times`,
      async (here) => {
        const { app, library, business, messages } = here
        const calls: Promise<string>[] = []
        const forget = (sender: Sender, n: number): void => {
          for (let index = 0; index < many; index++)
            calls.push(sender.send(type, { n }, keyed ? { partitionKey: 'a' } : {}))
        }
        for (let n = 0; n < 20; n++) {
          const forgotten = library.transaction(async (tx) => {
            if (n % 2 === 0) await library.insert(tx, 'dropped')
            forget(app.within(tx), n)
            throw rollback
          })
          await assert.rejects(forgotten, (error) => error === rollback)
          // Whoever gets the connection next must not get the message.
          await library.transaction(async (tx) => {
            await library.insert(tx, 'kept')
            await library.insert(tx, 'kept')
          })
        }
        await Promise.allSettled(calls)
        assert.deepEqual(await messages(), [])
        assert.deepEqual(new Set(await business()), new Set(['kept']))
      },
    )
  }

  scenario(
    'what nobody awaited is stored with the commit, or its call fails',
    async ({ app, library, messages }) => {
      const calls: Promise<string>[] = []
      for (let n = 0; n < 20; n++) {
        await library.transaction(async (tx) => {
          if (n % 2 === 0) await library.insert(tx, 'kept')
          for (const type of [Order, SlowOrder]) calls.push(app.within(tx).send(type, { n }))
        })
      }
      let stored = 0
      for (const call of calls) void call.then(() => stored++, assertRefusal)
      await Promise.allSettled(calls)
      assert.equal((await messages()).length, stored)
    },
  )

  scenario(
    'calls that are awaited together are all stored, in their order',
    async ({ app, library, messages }) => {
      await library.transaction(async (tx) => {
        const { send } = app.within(tx)
        await Promise.all(
          [SlowOrder, Order, Order, SlowOrder, Order].map((type, n) =>
            send(type, { n }, { partitionKey: 'a' }),
          ),
        )
      })
      assert.deepEqual(
        await messages(),
        [0, 1, 2, 3, 4].map((n) => JSON.stringify({ n })),
      )
    },
  )

  scenario(
    'a waiting schema in a savepoint that is rolled back meanwhile stores nothing',
    async ({ app, library, business, messages }) => {
      const calls: Promise<string>[] = []
      await library.transaction(async (tx) => {
        await library.insert(tx, 'kept')
        const inner = library.savepoint(tx, async (savepoint) => {
          await library.insert(savepoint, 'dropped')
          calls.push(app.within(savepoint).send(SlowOrder, { n: 1 }))
          throw rollback
        })
        await assert.rejects(inner, (error) => error === rollback)
        await Promise.allSettled(calls)
      })
      assert.deepEqual([await business(), await messages()], [['kept'], []])
    },
  )
}

/** Ours, or that of a library that knows that its transaction has ended. */
function assertRefusal(error: unknown): void {
  assert.ok(isMersalError(error, 'MERSAL_NOT_A_TRANSACTION') || error instanceof Error)
}

/**
 * Calls this in every step of what goes on now, in the next turns, and behind the next answer of a
 * server.
 */
function behindNextAnswer(call: () => void): void {
  const steps = (left: number): void => {
    if (left === 0) return
    call()
    queueMicrotask(() => steps(left - 1))
  }
  queueMicrotask(() => queueMicrotask(() => steps(40)))
  setImmediate(() => steps(40))
  const emit = Reflect.get(Socket.prototype, 'emit') as (...given: unknown[]) => boolean
  const listening = function (this: Socket, ...given: unknown[]): boolean {
    const heard = Reflect.apply(emit, this, given)
    if (given[0] === 'data') {
      Socket.prototype.emit = emit
      steps(40)
    }
    return heard
  }
  Socket.prototype.emit = listening
  onTestFinished(() => void (Socket.prototype.emit = emit))
}
