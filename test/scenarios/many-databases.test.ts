import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { sqliteQueue } from '../../src/sqlite.ts'
import { openProject, type Project, sourceUrl } from '../cli/project.ts'
import { clusterAvailable, freePort, privateCluster } from '../postgres/cluster.ts'

const APPLICATION = 'mersal_many'
const MOST = 12
const BACKLOG = 10_000

/** Tenants by name, with the address of the database of each. */
type Tenants = Readonly<Record<string, string>>

function projectOf(tenants: Tenants, relay: string): Project {
  return openProject(`
import { Pool } from 'pg'
import { defineConfig } from '${sourceUrl('cli/index.ts')}'
import { connectionBudget, postgres } from '${sourceUrl('postgres.ts')}'
import { sqliteQueue } from '${sourceUrl('sqlite.ts')}'
const tenants = ${JSON.stringify(tenants)}
export default defineConfig(() => {
  const connections = connectionBudget({ most: ${MOST} })
  const newPool = (connectionString: string) =>
    new Pool({ connectionString, application_name: '${APPLICATION}', connectionTimeoutMillis: 3000 })
  return {
    stores: Object.fromEntries(
      Object.entries(tenants).map(([name, url]) => [name, postgres({ pool: newPool(url), connections })]),
    ),
    transport: sqliteQueue({ path: 'queue.db' }),
    relay: ${relay},
  }
})`)
}

async function run(
  url: string,
  ...statements: readonly string[]
): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    let rows: Record<string, unknown>[] = []
    for (const statement of statements)
      rows = (await client.query(statement)).rows as Record<string, unknown>[]
    return rows
  } finally {
    await client.end()
  }
}

const sending = (name: string, count: number): string =>
  `select mersal.send('orders', 'orders.placed', jsonb_build_object('t', '${name}', 'n', n)) from generate_series(1, ${count}) n`

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 50))
}

/**
 * Looks again and again how many connections there are, until it is told to stop; returns the most.
 */
function watchConnections(url: string): () => Promise<number> {
  let most = 0
  const stop = new AbortController()
  const watching = (async () => {
    const client = new Client({ connectionString: url })
    await client.connect()
    while (!stop.signal.aborted) {
      const { rows } = await client.query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity where application_name = '${APPLICATION}'`,
      )
      most = Math.max(most, rows[0]!.count)
    }
    await client.end()
  })()
  return async () => {
    stop.abort()
    await watching
    return most
  }
}

/** The tenants of the messages in the queue, in the order in which they came. */
function arrived(project: Project): string[] {
  using database = new DatabaseSync(project.file('queue.db'), { readOnly: true }) as DatabaseSync &
    Disposable
  const rows = database
    .prepare('select body from mersal_queue_messages order by position')
    .all() as { body: Uint8Array }[]
  return rows.map(({ body }) => (JSON.parse(Buffer.from(body).toString()) as { t: string }).t)
}

describe.runIf(clusterAvailable())(
  'one relay process and many databases',
  { timeout: 600_000 },
  () => {
    test('lets twenty tenants work side by side: one has a backlog, one refuses, one never answers; and keeps to its connections', async () => {
      await using cluster = await privateCluster()
      const silent = createServer(() => {})
      await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
      const of = (database: string): string => cluster.url.replace(/postgres$/, database)
      const names = Array.from({ length: 18 }, (_, n) => `t${n}`)
      const tenants = {
        refuses: `postgres://postgres@127.0.0.1:${await freePort()}/postgres`,
        silent: `postgres://postgres@127.0.0.1:${(silent.address() as AddressInfo).port}/postgres`,
        ...Object.fromEntries(names.map((name) => [name, of(name)])),
      }
      await using project = projectOf(tenants, '{ pollIntervalMs: 2000 }')
      await run(cluster.url, 'create database t0')
      expect(await project.mersal(['migrate', '--store', 't0'])).toMatchObject({ code: 0 })
      await run(cluster.url, ...names.slice(1).map((name) => `create database ${name} template t0`))
      {
        await using broker = sqliteQueue({ path: project.file('queue.db') })
        await broker.subscribe('orders', [])
      }
      await run(of('t0'), sending('t0', BACKLOG))
      for (const name of names.slice(1)) await run(of(name), sending(name, 20))
      const connections = watchConnections(cluster.url)
      const relay = project.start(['relay', '--port', '0', '--grace-ms', '5000'])
      const address = (await relay.says(/20 stores.*(http:\/\/[\d.:]+)\/metrics/))[1]!

      await until(
        async () =>
          (await run(of('t0'), 'select count(*)::int as rows from mersal.outbox'))[0]!['rows'] ===
          0,
      )
      const order = arrived(project)
      expect(order.filter((name) => name === 't0').length).toBe(BACKLOG)
      for (const name of names.slice(1))
        expect(order.filter((each) => each === name).length).toBe(20)
      // By order, not by time: the last of the others left before half of the backlog had.
      const last = Math.max(...names.slice(1).map((name) => order.lastIndexOf(name)))
      expect(order.slice(0, last).filter((name) => name === 't0').length).toBeLessThan(BACKLOG / 2)

      // A database that goes away while it is served, and comes back.
      await run(
        cluster.url,
        'alter database t5 allow_connections false',
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = 't5'`,
      )
      await until(async () =>
        /^mersal_relay_claim_failures_total\{store="t5"\} [1-9]/m.test(
          await (await fetch(`${address}/metrics`)).text(),
        ),
      )
      await run(of('t6'), sending('t6', 5))
      await until(async () => arrived(project).filter((name) => name === 't6').length === 25)
      await run(cluster.url, 'alter database t5 allow_connections true')
      await run(of('t5'), sending('t5', 5))
      await until(async () => arrived(project).filter((name) => name === 't5').length === 25)

      const ready = await (await fetch(`${address}/readyz`)).text()
      expect(ready).toContain('refuses: the store cannot be opened')
      expect(ready).toContain('silent: the store cannot be opened')
      const { code, stderr } = await relay.signal('SIGTERM')
      expect(stderr).toContain('everything was settled')
      expect(code).toBe(0)
      expect(await connections()).toBeLessThanOrEqual(MOST)
      expect(
        await run(
          cluster.url,
          `select pid from pg_stat_activity where application_name = '${APPLICATION}'`,
        ),
      ).toEqual([])
      expect(arrived(project).length).toBe(BACKLOG + 17 * 20 + 10)
      silent.close()
    })
  },
)
