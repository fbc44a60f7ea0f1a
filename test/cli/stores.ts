import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { OutgoingMessage, Settlement, Store } from '../../src/index.ts'
import { postgres } from '../../src/postgres.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { mysql } from '../../src/mysql.ts'
import { serverAnswers as mysqlAnswers, testDatabase as mysqlDatabase } from '../mysql/server.ts'
import { serverAnswers, serverUrl, testDatabase } from '../postgres/database.ts'
import { mysqlConfig, openProject, postgresConfig, type Project, sqliteConfig } from './project.ts'

/** A project with a store of one kind, opened by the test as well. */
export interface Bench extends AsyncDisposable {
  readonly project: Project
  /** The store as the apps have it; its tables exist. */
  readonly store: Store<never>
  /** Commits these messages, in one transaction. */
  readonly send: (...messages: readonly OutgoingMessage[]) => Promise<void>
  /** Takes everything that is due and gives it up. */
  readonly kill: (change?: Partial<Extract<Settlement, { kind: 'dead' }>>) => Promise<void>
  /** Bodies in this queue of the project, in the order in which they came; removes them. */
  readonly received: (queue: string) => Promise<string[]>
  readonly declare: (queue: string) => Promise<void>
}

export function message(
  body: string,
  options: Partial<OutgoingMessage> & { readonly queue?: string } = {},
): OutgoingMessage {
  const { queue = 'orders', ...rest } = options
  return {
    id: randomUUID(),
    type: 'orders.placed',
    headers: { 'content-type': 'text/plain' },
    body: Buffer.from(body),
    to: { transport: 'default', kind: 'queue', name: queue },
    ...rest,
  }
}

export type Kind = 'sqlite' | 'postgres' | 'mysql'

/** SQLite, and the servers that answer. */
export async function kindsHere(): Promise<readonly Kind[]> {
  const [postgres, mysql] = [await serverAnswers(), await mysqlAnswers()]
  return [
    'sqlite',
    ...(postgres ? ['postgres' as const] : []),
    ...(mysql ? ['mysql' as const] : []),
  ]
}

/** A configuration with its store, on a database of their own. */
interface Place extends AsyncDisposable {
  readonly config: string
  open(project: Project): Store<never>
}

async function placeFor(kind: Kind, keepSentMs: number, further: string): Promise<Place> {
  const kept = `keepSentMs: ${keepSentMs}`
  const nothing = { [Symbol.asyncDispose]: () => Promise.resolve() }
  if (kind === 'sqlite')
    return {
      config: sqliteConfig(kept, further),
      open: (project) =>
        sqlite({ path: project.file('store.db'), keepSentMs }) as unknown as Store<never>,
      ...nothing,
    }
  if (kind === 'mysql') {
    const database = await mysqlDatabase()
    return {
      config: mysqlConfig(database.url, kept, further),
      open: () => mysql({ pool: database.pool, keepSentMs }) as unknown as Store<never>,
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    }
  }
  const { pool, schema, ...database } = await testDatabase()
  return {
    config: postgresConfig(serverUrl, schema, kept, further),
    open: () => postgres({ pool, schema, keepSentMs }) as unknown as Store<never>,
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

/** `further` are more fields of the configuration, as text. */
export async function openBench(
  kind: Kind,
  options: {
    readonly keepSentMs?: number
    readonly migrated?: boolean
    readonly further?: string
  } = {},
): Promise<Bench> {
  const { keepSentMs = 0, migrated = true, further = '' } = options
  const place = await placeFor(kind, keepSentMs, further)
  const project = openProject(place.config)
  const store = place.open(project)
  if (migrated) await store.open()
  const send: Bench['send'] = (...messages) =>
    store.unitOfWork(async (tx) => {
      await store.outbox.save(tx, messages)
    })
  return {
    project,
    store,
    send,
    async kill(change = {}) {
      const token = randomUUID()
      const rows = await store.outbox.claim({ limit: 1000, claimMs: 60_000, token })
      await store.outbox.settle(
        rows.map(({ position }) => ({
          ...({
            kind: 'dead',
            position,
            token,
            reason: 'refused',
            error: new Error('it was refused'),
            onDead: 'skip',
            maybePublished: false,
          } as const),
          ...change,
        })),
      )
    },
    async declare(queue) {
      await using broker = sqliteQueue({ path: project.file('queue.db') })
      await broker.subscribe(queue, [])
    },
    received: (queue) => drainQueue(join(project.folder, 'queue.db'), queue),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await project[Symbol.asyncDispose]()
      await place[Symbol.asyncDispose]()
    },
  }
}

/** Reads the queue until it is empty. */
export async function drainQueue(path: string, queue: string): Promise<string[]> {
  await using broker = sqliteQueue({ path, pollIntervalMs: 20 })
  const bodies: string[] = []
  await using consumer = await broker.consume(
    { queue, concurrency: 1 },
    async ({ message: { body } }) => {
      bodies.push(Buffer.from(body).toString())
      return { kind: 'ack' }
    },
  )
  const waiting = async (): Promise<number> => {
    const overviews = await broker.operations.queues({ names: [queue] })
    return overviews.find((one) => one.queue === queue)?.waiting ?? 0
  }
  while ((await waiting()) > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  void consumer
  return bodies
}
