import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { postgres as postgresStore } from '../../src/postgres.ts'
import { bundled } from '../bundle.ts'
import type { Effort } from '../effort.ts'
import { cpuSeconds } from '../measure.ts'
import type { Table } from '../report.ts'
import type { BenchServer } from '../server.ts'
import { withClient } from '../with-client.ts'
import type { IdleJob } from './job.ts'

/** More than enough for each to keep its own. */
const PLENTY = 80
/** Each finds its places; what was opened in the beginning is closed after ten seconds. */
const SETTLE_MS = 12_000

interface Case extends Omit<IdleJob, 'urls'> {
  readonly name: string
}

const cases: readonly Case[] = [
  { name: 'listens, polls every second', listen: true, pollIntervalMs: 1000, most: PLENTY },
  { name: 'listens, polls every 10 s', listen: true, pollIntervalMs: 10_000, most: PLENTY },
  {
    name: 'polls every second, connections are kept',
    listen: false,
    pollIntervalMs: 1000,
    most: PLENTY,
  },
  {
    name: 'polls every second, a quarter as many connections as databases',
    listen: false,
    pollIntervalMs: 1000,
    most: 5,
  },
  {
    name: 'polls every 10 s, a quarter as many connections as databases',
    listen: false,
    pollIntervalMs: 10_000,
    most: 5,
  },
]

interface Seen {
  readonly name: string
  readonly connections: number
  readonly relay: number
  readonly server: number
}

/** What databases cost in which nothing happens, all served by one relay process. */
export async function idle({ servers, size, seconds }: Effort): Promise<Table[]> {
  const server = await servers.postgres()
  const count = size === 'tiny' ? 2 : 20
  const urls = await makeDatabases(server, count)
  const span = size === 'tiny' ? 0.2 : Math.max(10, seconds * 5)
  const settleMs = size === 'tiny' ? 0 : SETTLE_MS
  const found: Seen[] = []
  for (const each of size === 'tiny' ? cases.slice(-2) : cases) {
    found.push(await look(server, { ...each, urls }, { span, settleMs }))
  }
  const perHour = (cpu: number): string => ((cpu / span / count) * 3600).toFixed(1)
  return [
    {
      id: 'idle',
      title: `${count} databases in which nothing happens, one relay process, ${server.version}`,
      head: [
        'each database',
        'connections in all',
        'CPU s per hour and database: relay',
        'PostgreSQL',
      ],
      rows: found.map(({ name, connections, relay, server }) => [
        name,
        String(connections),
        perHour(relay),
        perHour(server),
      ]),
      notes: [
        `Over ${span} s, after ${settleMs / 1000} s to settle. Connections are those at the end of it; where they are few, each look opens some, and they may all be on their way.`,
      ],
      faults: [],
      data: found,
    },
  ]
}

async function makeDatabases({ url }: BenchServer, count: number): Promise<string[]> {
  const urls: string[] = []
  for (let n = 0; n < count; n++) {
    await withClient(url, async (client) => {
      await client.query(`drop database if exists idle_${n}`)
      await client.query(`create database idle_${n}`)
    })
    const own = new URL(url)
    own.pathname = `/idle_${n}`
    const pool = new Pool({ connectionString: own.href })
    const store = postgresStore({ pool })
    await store.open()
    await store[Symbol.asyncDispose]()
    await pool.end()
    urls.push(own.href)
  }
  return urls
}

async function look(
  { pid, url }: BenchServer,
  { name, ...job }: Case & IdleJob,
  { span, settleMs }: { readonly span: number; readonly settleMs: number },
): Promise<Seen> {
  const child = fork(await bundled(new URL('relay.ts', import.meta.url), 'idle'), [
    JSON.stringify(job),
  ])
  const exited = once(child, 'exit')
  await once(child, 'message')
  await sleep(settleMs)
  const before = { relay: cpuSeconds(child.pid as number), server: cpuSeconds(pid) }
  await sleep(span * 1000)
  const after = { relay: cpuSeconds(child.pid as number), server: cpuSeconds(pid) }
  const connections = await countConnections(url)
  child.disconnect()
  await exited
  return {
    name,
    connections,
    relay: after.relay - before.relay,
    server: after.server - before.server,
  }
}

async function countConnections(url: string): Promise<number> {
  const text = `select count(*)::int as count from pg_stat_activity where application_name = 'bench-idle'`
  const { rows } = await withClient(url, (client) => client.query<{ count: number }>(text))
  return rows[0]?.count ?? 0
}
