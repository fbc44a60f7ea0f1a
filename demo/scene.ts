/**
 * Where a part of the demo plays: its servers, databases and queues, what they hold at the moment,
 * and the wait for what they shall hold.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DemoOptions, ServerChoice } from './options.ts'
import { mysqlServer, openMysql } from './places/mysql.ts'
import { natsServer, openNats } from './places/nats.ts'
import type {
  BrokerCounts,
  DatabaseCounts,
  DemoBroker,
  DemoDatabase,
  ServerKind,
} from './places/place.ts'
import { openPostgres, postgresServer } from './places/postgres.ts'
import { openRabbitmq, rabbitmqServer } from './places/rabbitmq.ts'
import { openSqlite, openSqliteQueue } from './places/sqlite.ts'
import type { ChildPlan, Registration } from './plan.ts'
import { type Reconciliation, reconcile } from './reconcile.ts'
import { type View, reasonOf } from './view.ts'

export interface Server {
  readonly name: ServerKind['name']
  readonly url: string
  /** SIGKILL and start. Undefined for a server that others use as well. */
  readonly restart?: () => Promise<void>
}

export interface Servers extends AsyncDisposable {
  readonly database: Server | undefined
  readonly broker: Server | undefined
}

/**
 * Throws an `Error` with a text for the user when a server that was asked for can neither be
 * started nor is given.
 */
export async function openServers(options: DemoOptions, view: View): Promise<Servers> {
  await using opened = new AsyncDisposableStack()
  const one = async (
    kind: ServerKind,
    choice: ServerChoice | undefined,
  ): Promise<Server | undefined> => {
    if (choice === undefined) return undefined
    const url = givenUrl(kind, choice)
    if (url !== undefined) {
      await checkAnswers(kind, url, choice.url === undefined ? kind.variable : kind.option)
      view.say(
        `${kind.name}: a given server. It is not restarted, since others may use it; what the demo makes there is removed at the end.`,
      )
      return { name: kind.name, url }
    }
    view.say(`${kind.name}: starting a private server`)
    const server = opened.use(await kind.open())
    const restart = (): Promise<void> => server.kill().then(() => server.start())
    return { name: kind.name, url: server.url, restart }
  }
  // Settled first, so that whichever was opened is closed when the other failed.
  const both = await Promise.allSettled([
    one(options.database?.kind === 'mysql' ? mysqlServer : postgresServer, options.database),
    one(options.broker?.kind === 'nats' ? natsServer : rabbitmqServer, options.broker),
  ])
  const [first, second] = both.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
  const all = opened.move()
  return { database: first, broker: second, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

/** The address is not shown: it may have a password. */
async function checkAnswers({ name, greet }: ServerKind, url: string, from: string): Promise<void> {
  try {
    await greet(url)
  } catch (error) {
    throw new Error(`${name}: the server of ${from} cannot be used: ${reasonOf(error)}`, {
      cause: error,
    })
  }
}

function givenUrl(kind: ServerKind, { url }: ServerChoice): string | undefined {
  const problem = kind.problem()
  if (url !== undefined || problem === undefined) return url
  const fallback = process.env[kind.variable]
  if (fallback === undefined)
    throw new Error(`${problem}. Give a server with ${kind.option}, or set ${kind.variable}.`)
  return fallback
}

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
  const database = opened.use(await openDatabase(servers.database, folder, withOutbox))
  const broker = opened.use(await openBroker(servers.broker, folder))
  const all = opened.move()
  const plan = { commands: file, database: database.place, broker: broker.place }
  return { ...part, database, broker, plan, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

function openDatabase(
  server: Server | undefined,
  folder: string,
  withOutbox: boolean,
): Promise<DemoDatabase> {
  if (server === undefined) return openSqlite(folder, withOutbox)
  return server.name === 'MariaDB'
    ? openMysql(server.url, withOutbox)
    : openPostgres(server.url, withOutbox)
}

function openBroker(server: Server | undefined, folder: string): Promise<DemoBroker> {
  if (server === undefined) return openSqliteQueue(folder)
  return server.name === 'NATS' ? openNats(server.url) : openRabbitmq(server.url)
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
