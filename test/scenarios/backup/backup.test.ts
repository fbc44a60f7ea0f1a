import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  clusterProblem,
  type PrivateCluster,
  privateCluster,
  programsOfPostgres,
} from '../../../scripts/servers/postgres.ts'
import { isPresent } from '../../../scripts/servers/present.ts'
import { event, Mersal } from '../../../src/index.ts'
import { memoryNetwork } from '../../../src/memory.ts'
import { type PostgresClient, postgres } from '../../../src/postgres.ts'
import { drain } from '../../../src/testing/index.ts'
import { openProject, postgresConfig, type Project } from '../../cli/project.ts'

const here = isPresent(clusterProblem())
const Placed = event<{ order: number }>('orders.placed')
const HOUR = 3_600_000

/** Collects what arrives, repeats too. */
class Arrived {
  readonly ids: string[] = []
  readonly orders: number[] = []
  #news = Promise.withResolvers<void>()

  add(id: string, order: number): void {
    this.ids.push(id)
    this.orders.push(order)
    this.#news.resolve()
    this.#news = Promise.withResolvers()
  }

  async until(count: number): Promise<readonly number[]> {
    while (this.orders.length < count) await this.#news.promise
    return this.orders.toSorted((a, b) => a - b)
  }
}

describe.skipIf(!here)('a backup of PostgreSQL', { timeout: 300_000 }, () => {
  const opened = new AsyncDisposableStack()
  let cluster: PrivateCluster
  let folder: string
  let project: Project

  beforeAll(async () => {
    cluster = opened.use(await privateCluster())
    project = opened.use(openProject())
    folder = project.folder
  })
  afterAll(() => opened.disposeAsync())

  const urlOf = (database: string): string => {
    const url = new URL(cluster.url)
    url.pathname = `/${database}`
    return url.href
  }
  const run = (program: string, ...args: readonly string[]): void =>
    void execFileSync(join(programsOfPostgres, program), [...args], { stdio: 'pipe' })
  const make = (database: string): void =>
    run('createdb', '--maintenance-db', cluster.url, database)
  const dump = (database: string): void =>
    run('pg_dump', '-Fc', '-f', join(folder, database), urlOf(database))
  /** Into an empty database of the same name. */
  const restore = (database: string): void => {
    run('dropdb', '--maintenance-db', cluster.url, '--force', database)
    make(database)
    run('pg_restore', '--exit-on-error', '-d', urlOf(database), join(folder, database))
  }

  interface World {
    readonly network: ReturnType<typeof memoryNetwork>
    readonly arrived: Arrived
    readonly stop: () => Promise<void>
  }

  /** Whoever only listens, and has no inbox. */
  async function world(): Promise<World> {
    const network = memoryNetwork()
    const arrived = new Arrived()
    const audit = new Mersal({ name: 'audit', transport: network.transport(), logger: false })
    audit.handle(Placed, ({ order }, { message }) => arrived.add(message.id, order))
    await audit.start()
    return { network, arrived, stop: () => audit.stop() }
  }

  interface Shop extends AsyncDisposable {
    readonly app: Mersal<PostgresClient>
    readonly place: (order: number, delayMs?: number) => Promise<void>
  }

  async function open(
    database: string,
    { network }: World,
    { name = 'shop', runRelay = true, keepSentMs = 0 } = {},
  ): Promise<Shop> {
    const pool = new Pool({ connectionString: urlOf(database), max: 6 })
    pool.on('error', () => {})
    await pool.query('create table if not exists orders (id int primary key)')
    const app = new Mersal({
      name,
      store: postgres({ pool, keepSentMs }),
      transport: network.transport(),
      outbox: { runRelay },
      logger: false,
      ...(name === 'shop' ? { sendOnly: true } : {}),
    })
    if (name !== 'shop')
      app.handle(Placed, async ({ order }, { tx }) => {
        await tx.query('insert into orders (id) values ($1)', [order])
      })
    await app.start()
    return {
      app,
      place: (order, delayMs) =>
        app.transaction(async (tx, { publish }) => {
          await tx.query('insert into orders (id) values ($1)', [order])
          await publish(Placed, { order }, delayMs === undefined ? {} : { delayMs })
        }),
      async [Symbol.asyncDispose]() {
        await app.stop()
        await pool.end()
      },
    }
  }

  async function rows(database: string, text: string): Promise<unknown[]> {
    const pool = new Pool({ connectionString: urlOf(database), max: 1 })
    try {
      return (await pool.query({ text, rowMode: 'array' })).rows.flat()
    } finally {
      await pool.end()
    }
  }
  const ordersOf = (database: string) => rows(database, 'select id from orders order by id')

  /** What `mersal doctor` finds wrong with the database. */
  async function doctor(database: string): Promise<readonly string[]> {
    project.write('mersal.config.ts', postgresConfig(urlOf(database), 'mersal'))
    const { stdout } = await project.mersal(['doctor', '--json'])
    const { findings } = JSON.parse(stdout) as {
      findings: { level: string; subject: string; text: string }[]
    }
    expect(findings.length).toBeGreaterThan(5)
    return findings
      .filter(({ level, subject }) => level !== 'ok' && /postgres|outbox|inbox/.test(subject))
      .map(({ level, subject, text }) => `${level} ${subject}: ${text}`)
  }

  test('of the sender: what waited then is published again with the same ids, and consumers drop it', async () => {
    make('sender')
    make('consumer')
    const around = await world()
    const { arrived } = around
    await using billing = await open('consumer', around, { name: 'billing' })
    {
      await using shop = await open('sender', around, { runRelay: false })
      for (const order of [1, 2, 3]) await shop.place(order)
      await shop.place(4, HOUR)
    }
    dump('sender')
    {
      await using shop = await open('sender', around)
      for (const order of [5, 6]) await shop.place(order)
      expect(await arrived.until(5)).toEqual([1, 2, 3, 5, 6])
      await drain([shop.app, billing.app])
    }
    restore('sender')
    expect(await ordersOf('sender')).toEqual([1, 2, 3, 4])
    expect(await doctor('sender')).toEqual([])

    await using shop = await open('sender', around)
    expect(await arrived.until(8)).toEqual([1, 1, 2, 2, 3, 3, 5, 6])
    expect(new Set(arrived.ids).size).toBe(5)
    await shop.place(7)
    await arrived.until(9)
    await drain([shop.app, billing.app])
    // What was placed after the backup is known to the consumer alone.
    expect(await ordersOf('sender')).toEqual([1, 2, 3, 4, 7])
    expect(await ordersOf('consumer')).toEqual([1, 2, 3, 5, 6, 7])
    expect(await rows('sender', 'select count(*)::int from mersal.outbox')).toEqual([1])
    await around.stop()
  })

  test('of the consumer: what it has handled since comes again by a replay, and only that is done', async () => {
    make('keeper')
    make('forgetful')
    const around = await world()
    const { arrived } = around
    await using shop = await open('keeper', around, { keepSentMs: HOUR })
    {
      await using billing = await open('forgetful', around, { name: 'billing' })
      for (const order of [1, 2]) await shop.place(order)
      await arrived.until(2)
      await drain([shop.app, billing.app])
      dump('forgetful')
      for (const order of [3, 4]) await shop.place(order)
      await arrived.until(4)
      await drain([shop.app, billing.app])
    }
    restore('forgetful')
    expect(await ordersOf('forgetful')).toEqual([1, 2])
    await using billing = await open('forgetful', around, { name: 'billing' })
    await drain([shop.app, billing.app])
    expect(await ordersOf('forgetful')).toEqual([1, 2])

    project.write(
      'mersal.config.ts',
      postgresConfig(urlOf('keeper'), 'mersal', 'keepSentMs: 3600000'),
    )
    const replayed = await project.mersal(['replay', '--since', '1h', '--yes'])
    expect([replayed.code, replayed.stderr]).toEqual([0, ''])
    expect(await arrived.until(8)).toEqual([1, 1, 2, 2, 3, 3, 4, 4])
    await drain([shop.app, billing.app])
    expect(await ordersOf('forgetful')).toEqual([1, 2, 3, 4])
    await around.stop()
  })
})
