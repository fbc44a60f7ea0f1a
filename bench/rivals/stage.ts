/** Servers and processes of one candidate. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Pool } from 'pg'
import { openPrivateRedis } from '../../scripts/servers/redis.ts'
import { openVhost } from '../../scripts/servers/vhost.ts'
import type { Body, Candidate, Servers, WorkerPlan } from './plan.ts'

export interface Stage extends AsyncDisposable {
  readonly candidate: Candidate
  readonly servers: Servers
  query<Row>(text: string, values?: unknown[]): Promise<Row[]>
  effects(line: string): Promise<readonly number[]>
  /** Resolves to the seconds that it took, or to undefined when they are over. */
  within(seconds: number, holds: () => Promise<boolean>): Promise<number | undefined>
  start(plan: Partial<WorkerPlan> & Pick<WorkerPlan, 'role'>): Promise<Actor>
}

export interface Actor extends AsyncDisposable {
  /** How each write ended, when all of them have, or the process has. */
  readonly done: Promise<readonly { readonly body: Body; readonly how: string }[]>
  /** Signal or exit code. */
  readonly ended: Promise<string>
}

const tables = `
create table business (line text not null, n integer not null, unique (line, n) deferrable initially deferred);
create table effect (place bigint generated always as identity, line text not null, n integer not null);
create table stumbled (line text primary key);
`

/** A database of its own on this server, which goes with the run. */
async function newDatabase(server: string): Promise<string> {
  const name = `rivals_${Math.random().toString(36).slice(2)}`
  const client = new Client({ connectionString: server })
  await client.connect()
  await client.query(`create database ${name}`)
  await client.end()
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}

/** `server`: address of a PostgreSQL. */
export async function openStage(candidate: Candidate, server: string): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const database = await newDatabase(server)
  const vhost = stack.use(await openVhost())
  const redis = stack.use(await openPrivateRedis({ config: ['appendonly yes'] }))
  const servers: Servers = {
    database,
    rabbitmq: vhost.url,
    redis: redis.url,
  }
  const pool = stack.adopt(new Pool({ connectionString: database, max: 3 }), (open) => open.end())
  pool.on('error', () => {})
  await pool.query(tables)
  const query = async <Row>(text: string, values?: unknown[]): Promise<Row[]> =>
    (await pool.query(text, values)).rows as Row[]
  const owned = stack.move()
  return {
    candidate,
    servers,
    query,
    effects: async (line) =>
      (
        await query<{ n: number }>('select n from effect where line = $1 order by place', [line])
      ).map(({ n }) => n),
    async within(seconds, holds) {
      const began = performance.now()
      while (performance.now() - began < seconds * 1000) {
        if (await holds()) return (performance.now() - began) / 1000
        await sleep(50)
      }
      return undefined
    },
    start: (plan) =>
      startActor({
        candidate,
        servers,
        order: 'commit first',
        bodies: [],
        patienceMs: 30_000,
        ...plan,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const worker = fileURLToPath(new URL('worker.ts', import.meta.url))

async function startActor(plan: WorkerPlan): Promise<Actor> {
  const child = fork(worker, [JSON.stringify(plan)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: [
      'ignore',
      'ignore',
      process.env['MERSAL_RIVALS_SEE'] === undefined ? 'ignore' : 'inherit',
      'ipc',
    ],
  })
  const ended = once(child, 'close').then(([code, signal]) => String(signal ?? code))
  const done = writes(child, ended)
  await Promise.race([heard(child, 'ready'), ended])
  return {
    done,
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function writes(child: ChildProcess, ended: Promise<string>): Actor['done'] {
  const written: { body: Body; how: string }[] = []
  child.on('message', (said: { kind: string; body: Body; how: string }) => {
    if (said.kind === 'written') written.push(said)
  })
  await Promise.race([heard(child, 'done'), ended])
  return written
}

function heard(child: ChildProcess, kind: string): Promise<void> {
  return new Promise((resolve) => {
    child.on('message', (said: { kind: string }) => {
      if (said.kind === kind) resolve()
    })
  })
}
