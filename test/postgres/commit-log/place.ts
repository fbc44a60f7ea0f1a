import { fork } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { join } from 'node:path'
import pg from 'pg'
import { type Logger, silentLogger } from '../../../src/core/telemetry.ts'
import { createRelays, type Relays, event, Mersal, type RelayOptions } from '../../../src/index.ts'
import { postgres, type PostgresClient, type PostgresStore } from '../../../src/postgres.ts'
import { privateCluster, type PrivateCluster } from '../cluster.ts'
import { makeBroker, type TableBroker, tableBroker } from './table-broker.ts'

export const Counted = event<number>('counted')
export const Poison = event<number>('poison')

/** What the broker holds, in the order in which it came. */
export interface Arrival {
  readonly id: string
  readonly key: string | null
  readonly body: string
}

/** A server whose log can be read, a broker in a table of it, and what writes to the outbox. */
export interface Place extends AsyncDisposable {
  readonly server: PrivateCluster
  readonly broker: TableBroker
  readonly store: PostgresStore<PostgresClient>
  /** Writes for whoever reads the log. */
  readonly app: Mersal<PostgresClient>
  sql<Row = Record<string, unknown>>(text: string): Promise<Row[]>
  arrivals(): Promise<readonly Arrival[]>
  /** Open rows of the outbox. */
  open(): Promise<number>
  /** Whether somebody reads the log, as writers see it. */
  state(): Promise<string>
  /** Resolves when what the app writes is born claimed for the log; sends messages until then. */
  writesForLog(): Promise<void>
  /** One message in a transaction of its own. */
  send(n: number, key?: string): Promise<void>
  /** A relay in this process, started. */
  relay(options?: RelayOptions, logger?: Logger): Promise<Relays>
  /** A relay in a process of its own, started. */
  relayProcess(): Promise<RelayProcess>
}

export interface RelayProcess {
  readonly pid: number
  kill(signal: NodeJS.Signals): Promise<void>
  signal(signal: NodeJS.Signals): void
}

/** Nothing but the log makes such a relay look before a minute has gone by. */
export const LOG_ALONE: RelayOptions = { commitLog: true, pollIntervalMs: 60_000 }

export async function openPlace(settings: Readonly<Record<string, string>> = {}): Promise<Place> {
  const server = await privateCluster({ wal_level: 'logical', ...settings })
  const pool = new pg.Pool({ connectionString: server.url, max: 4 })
  pool.on('error', () => {})
  await pool.query(makeBroker)
  const broker = tableBroker(server.url)
  const logger = silentLogger
  const store = postgres({ pool, listen: false, logger })
  const app = new Mersal({
    name: 'writer',
    store,
    transport: broker,
    sendOnly: true,
    logger,
    outbox: { runRelay: false, relay: { express: 'commit-log', expressGraceMs: 3000 } },
  })
  await app.start()
  const send: Place['send'] = (n, partitionKey) =>
    app.transaction(async (_tx, { publish }) => {
      await publish(Counted, n, partitionKey === undefined ? {} : { partitionKey })
    })
  const children = new Set<RelayProcess>()
  const stores: AsyncDisposable[] = []
  const sql: Place['sql'] = async (text) => (await pool.query(text)).rows
  return {
    server,
    broker,
    store,
    app,
    sql,
    arrivals: () => sql<Arrival>('select id, key, body from broker order by n'),
    open: async () =>
      Number((await sql<{ n: string }>('select count(*) n from mersal.outbox'))[0]?.n),
    state: async () => (await store.commitLog?.condition())?.state ?? 'off',
    async writesForLog() {
      const logged = new AbortController()
      const note = (given: unknown): void => {
        if ((given as { readonly express: number }).express > 0) logged.abort()
      }
      subscribe('mersal:commit', note)
      // It looks once a second whether the log is read.
      while (!logged.signal.aborted) await send(-1)
      unsubscribe('mersal:commit', note)
    },
    send,
    async relay(options = LOG_ALONE, given = logger) {
      const own = postgres({ pool, listen: false, logger: given })
      stores.push(own)
      const relays = createRelays({
        stores: { main: own },
        transport: broker,
        relay: options,
        logger: given,
      })
      await relays.start()
      const stop = relays.stop.bind(relays)
      // Its connections would stay open until the server has none left for the tests behind.
      return Object.assign(relays, {
        async stop(given?: Parameters<typeof stop>[0]) {
          const inTime = await stop(given)
          await own[Symbol.asyncDispose]()
          return inTime
        },
      })
    },
    async relayProcess() {
      const child = await startProcess(server.url)
      children.add(child)
      return child
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) await child.kill('SIGKILL')
      await app.stop()
      for (const one of stores) await one[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
      await broker[Symbol.asyncDispose]()
      await pool.end()
      await server[Symbol.asyncDispose]()
    },
  }
}

async function startProcess(url: string): Promise<RelayProcess> {
  const child = fork(join(import.meta.dirname, 'relay-process.ts'), [url])
  const ended = once(child, 'exit')
  await Promise.race([
    once(child, 'message'),
    ended.then(() => {
      throw new Error('the process of the relay has ended')
    }),
  ])
  return {
    pid: child.pid as number,
    signal: (signal) => void child.kill(signal),
    async kill(signal) {
      child.kill(signal)
      await ended
    },
  }
}
