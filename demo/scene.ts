/**
 * What both parts of the demo need: places for rows and messages, the counts for the view, waiting
 * for a state.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerCounts, DemoBroker } from './brokers/broker.ts'
import { openNats } from './brokers/nats.ts'
import { openRabbitmq } from './brokers/rabbitmq.ts'
import { openSqliteQueue } from './brokers/sqlite.ts'
import type { DatabaseCounts, DemoDatabase } from './databases/database.ts'
import { openMysql } from './databases/mysql.ts'
import { openPostgres } from './databases/postgres.ts'
import { openSqlite } from './databases/sqlite.ts'
import type { ChildPlan, Registration } from './plan.ts'
import { type Reconciliation, reconcile } from './reconcile.ts'
import type { Server, Servers } from './servers.ts'
import type { View } from './view.ts'

export interface Part {
  readonly folder: string
  readonly servers: Servers
  readonly commands: readonly Registration[]
  readonly random: () => number
  readonly view: View
}

export interface Scene extends Part, AsyncDisposable {
  readonly database: DemoDatabase
  readonly broker: DemoBroker
  readonly plan: Pick<ChildPlan, 'commands' | 'database' | 'broker'>
}

/** Empty databases and queues. */
export async function prepare(part: Part, withOutbox: boolean): Promise<Scene> {
  const { folder, servers, commands } = part
  await using opened = new AsyncDisposableStack()
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'commands.json')
  writeFileSync(file, JSON.stringify(commands))
  const { database: rows, broker: server } = servers
  const database = opened.use(
    rows === undefined ? await openSqlite(folder, withOutbox) : await openRows(rows, withOutbox),
  )
  const broker = opened.use(
    server === undefined ? await openSqliteQueue(folder) : await openBroker(server),
  )
  const all = opened.move()
  const plan = { commands: file, database: database.place, broker: broker.place }
  return { ...part, database, broker, plan, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

function openRows({ name, url }: Server, withOutbox: boolean): Promise<DemoDatabase> {
  return name === 'MariaDB' ? openMysql(url, withOutbox) : openPostgres(url, withOutbox)
}

function openBroker({ name, url }: Server): Promise<DemoBroker> {
  return name === 'NATS' ? openNats(url) : openRabbitmq(url)
}

export type Counts = Omit<DatabaseCounts, 'waiting'> &
  Omit<BrokerCounts, 'waiting'> & { readonly waiting: number }

export async function count({ database, broker }: Scene): Promise<Counts> {
  const [rows, messages] = await Promise.all([database.counts(), broker.counts()])
  return { ...rows, ...messages, waiting: rows.waiting + messages.waiting }
}

/** To be read when nothing runs any more: it may take the messages out of the queues. */
export async function findings(scene: Scene): Promise<Reconciliation> {
  const { commands, database, broker } = scene
  const { waiting } = await count(scene)
  const [students, financial, events, deadLetters] = await Promise.all([
    database.students(),
    database.financial(),
    broker.events(),
    broker.deadLetters(),
  ])
  return reconcile({ commands: commands.length, students, financial, events, deadLetters, waiting })
}

export interface Waiting {
  readonly until: (counts: Counts) => boolean
  /** The condition has to hold for so long. Default 0. */
  readonly steadyMs?: number
  readonly deadline: number
  /** Rejects when something failed meanwhile. */
  readonly failure: Promise<unknown>
}

/** Counts until the condition holds; false if the deadline came first. */
export async function watch(
  scene: Scene,
  { until, steadyMs = 0, deadline, failure }: Waiting,
): Promise<boolean> {
  const failed = failure.then(() => new Promise<never>(() => {}))
  let since: number | undefined
  for (;;) {
    const counts = await Promise.race([count(scene), failed])
    show(scene, counts)
    const now = performance.now()
    since = until(counts) ? (since ?? now) : undefined
    if (since !== undefined && now - since >= steadyMs) return true
    if (now > deadline) return false
    await Promise.race([sleep(150), failed])
  }
}

function show({ commands, view }: Scene, { students, events, financial }: Counts): void {
  const total = commands.length
  view.progress([
    { label: 'students', done: students, total },
    { label: 'events published', done: Math.min(events, total), total },
    { label: 'financial registrations', done: financial, total },
  ])
}

/**
 * Kills the server and starts it again; resolves when it answers. Nothing happens to a given
 * server.
 */
export async function restart(scene: Scene, server: Server): Promise<void> {
  if (server.restart === undefined) return
  scene.view.say(`  SIGKILL ${server.name}, all its processes`)
  await server.restart()
  const deadline = performance.now() + 30_000
  for (;;) {
    try {
      await count(scene)
      break
    } catch (error) {
      // Its port may be open before it can answer.
      if (performance.now() > deadline) throw error
      await sleep(200)
    }
  }
  scene.view.say(`  ${server.name} is back`)
}

/** A whole number from `low` to `high`. */
export function between(random: () => number, low: number, high: number): number {
  return low + Math.floor(random() * (Math.max(high, low) - low + 1))
}
