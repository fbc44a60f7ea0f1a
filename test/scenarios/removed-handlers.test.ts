import { DatabaseSync } from 'node:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { event, Mersal, type Transport } from '../../src/index.ts'
import { memoryNetwork } from '../../src/memory.ts'
import { postgresQueue } from '../../src/postgres.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { serverAnswers, testDatabase } from '../postgres/database.ts'

const Kept = event<{ n: number }>('things.kept')
const Gone = event<{ n: number }>('things.gone')
const Asked = event<{ n: number }>('things.asked')

interface Place extends AsyncDisposable {
  readonly open: () => Transport
}

const places: Readonly<Record<string, () => Promise<Place>>> = {
  sqlite: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-removed-'))
    return {
      open: () => sqliteQueue({ path: join(folder, 'queue.db') }),
      [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }),
    }
  },
  memory: async () => {
    const network = memoryNetwork()
    return { open: () => network.transport(), [Symbol.asyncDispose]: async () => {} }
  },
  ...((await serverAnswers())
    ? {
        postgres: async () => {
          const { pool, schema, ...database } = await testDatabase()
          return {
            open: () => postgresQueue({ pool, schema }),
            [Symbol.asyncDispose]: database[Symbol.asyncDispose],
          }
        },
      }
    : {}),
}

function logged() {
  const warnings: { readonly fields: object; readonly text: string }[] = []
  const ignore = (): void => {}
  const warn = (fields: object, text: string): void => void warnings.push({ fields, text })
  return { warnings, logger: { debug: ignore, info: ignore, error: ignore, warn } }
}

describe.each(Object.keys(places))('an app on %s', (kind) => {
  test('warns at its start of an event that comes and that no handler takes any more, until that is taken back', async () => {
    await using place = await places[kind]!()
    const live = async (work: (app: Mersal) => void | Promise<void>): Promise<unknown[]> => {
      const { warnings, logger } = logged()
      const app = new Mersal({ name: 'shop', transport: place.open(), logger })
      await work(app)
      await app.start()
      await app.stop()
      return warnings
        .filter(({ text }) => text.includes('app.unsubscribe(type)'))
        .map(({ fields }) => fields)
    }
    const handleKept = (app: Mersal): void => app.handle(Kept, () => {})
    const before = async (app: Mersal): Promise<void> => {
      handleKept(app)
      app.handle(Gone, () => {})
      await app.subscribe(Asked)
    }
    expect(await live(before)).toEqual([])
    // What was subscribed without a handler is wanted as well, but only by an app that says so.
    const after = async (app: Mersal): Promise<void> => {
      handleKept(app)
      await app.subscribe(Asked)
    }
    expect(await live(after)).toEqual([
      { app: 'shop', transport: 'default', topics: ['things.gone'] },
    ])
    expect(await live(handleKept)).toMatchObject([
      { topics: expect.arrayContaining(['things.asked', 'things.gone']) as string[] },
    ])
    const cured = async (app: Mersal): Promise<void> => {
      await after(app)
      await app.unsubscribe(Gone)
    }
    expect(await live(cured)).toEqual([])
    expect(await live(after)).toEqual([])
  })

  test('starts all the same when its transport fails to tell what comes', async () => {
    await using place = await places[kind]!()
    const { warnings, logger } = logged()
    const transport = place.open()
    await using app = new Mersal({
      name: 'shop',
      transport: { ...transport, topicsOf: () => Promise.reject(new Error('no answer')) },
      logger,
    })
    await app.start()
    expect(app.state).toBe('running')
    expect(warnings).toMatchObject([{ fields: { error: 'Error: no answer' } }])
  })
})

test('a handle that is shared with the queue is warned about as one that is shared with the store, a path is not', async () => {
  const database = new DatabaseSync(':memory:')
  const { warnings, logger } = logged()
  const app = new Mersal({
    name: 'shop',
    store: sqlite({ database }),
    transport: sqliteQueue({ database }),
    logger,
  })
  await app.start()
  await app.stop()
  database.close()
  expect(warnings).toMatchObject([
    {
      fields: { store: 'sqlite' },
      text: expect.stringContaining('the database handle is shared') as string,
    },
    {
      fields: { transport: 'default' },
      text: expect.stringContaining('sqliteQueue({ path })') as string,
    },
  ])
  const quiet = logged()
  await using other = new Mersal({
    name: 'shop',
    transport: sqliteQueue({ path: ':memory:' }),
    logger: quiet.logger,
  })
  await other.start()
  expect(quiet.warnings).toEqual([])
})
