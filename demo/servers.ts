/**
 * The real servers of the demo: private ones, which may be killed, or given ones, which may not.
 */
import { createConnection } from 'mysql2/promise'
import { Client } from 'pg'
import { nats as natsTransport } from '../src/nats.ts'
import { rabbitmq as rabbitmqTransport } from '../src/rabbitmq.ts'
import { mariadbProblem, privateMariadb } from '../scripts/servers/mariadb.ts'
import { natsProblem, openPrivateNats } from '../scripts/servers/nats.ts'
import { clusterProblem, privateCluster } from '../scripts/servers/postgres.ts'
import { brokerProblem, openPrivateBroker } from '../scripts/servers/rabbitmq.ts'
import type { DemoOptions, ServerChoice } from './options.ts'
import { reasonOf, type View } from './view.ts'

export interface Server {
  readonly name: 'PostgreSQL' | 'MariaDB' | 'RabbitMQ' | 'NATS'
  readonly url: string
  /** SIGKILL and start. Undefined for a server that others use as well. */
  readonly restart?: () => Promise<void>
}

export interface Servers extends AsyncDisposable {
  readonly database: Server | undefined
  readonly broker: Server | undefined
}

const GREET_MS = 10_000

interface Kind {
  readonly name: Server['name']
  readonly problem: string | undefined
  /** Names a server to use where none can be started. */
  readonly variable: string
  readonly option: string
  readonly open: () => Promise<Required<Server> & AsyncDisposable>
  /** Connects to a given server and leaves it again. */
  readonly greet: (url: string) => Promise<void>
}

const postgres: Kind = {
  name: 'PostgreSQL',
  problem: clusterProblem(),
  variable: 'MERSAL_TEST_POSTGRES_URL',
  option: '--postgres-url',
  greet: async (url) => {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: GREET_MS })
    client.on('error', () => {}) // the call that fails tells of it
    try {
      await client.connect()
      await client.query('SELECT 1')
    } finally {
      await client.end().catch(() => {})
    }
  },
  open: async () => {
    const cluster = await privateCluster({ max_connections: '100' })
    const restart = async (): Promise<void> => {
      await cluster.kill()
      await cluster.start()
    }
    return {
      name: 'PostgreSQL',
      url: cluster.url,
      restart,
      [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
    }
  },
}

const mysql: Kind = {
  name: 'MariaDB',
  problem: mariadbProblem(),
  variable: 'MERSAL_TEST_MYSQL_URL',
  option: '--mysql-url',
  greet: async (url) => {
    const connection = await createConnection({ uri: url, connectTimeout: GREET_MS })
    connection.on('error', () => {}) // the call that fails tells of it
    try {
      await connection.query('select 1')
    } finally {
      await connection.end().catch(() => {})
    }
  },
  open: async () => {
    const server = await privateMariadb()
    const restart = async (): Promise<void> => {
      await server.kill()
      await server.start()
    }
    return {
      name: 'MariaDB',
      url: server.url,
      restart,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
}

const rabbitmq: Kind = {
  name: 'RabbitMQ',
  problem: brokerProblem(),
  variable: 'MERSAL_TEST_RABBITMQ_URL',
  option: '--rabbitmq-url',
  greet: async (url) => {
    await using transport = rabbitmqTransport({ url, connectTimeoutMs: GREET_MS, logger: false })
    await transport.operations.examine({ queues: [] })
  },
  open: async () => {
    const broker = await openPrivateBroker()
    const restart = async (): Promise<void> => {
      await broker.signal('SIGKILL')
      await broker.start()
    }
    return {
      name: 'RabbitMQ',
      url: broker.url,
      restart,
      [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
    }
  },
}

const nats: Kind = {
  name: 'NATS',
  problem: natsProblem(),
  variable: 'MERSAL_TEST_NATS_URL',
  option: '--nats-url',
  greet: async (url) => {
    await using transport = natsTransport({ url, connectTimeoutMs: GREET_MS, logger: false })
    await transport.operations.examine({ queues: [] })
  },
  open: async () => {
    const server = await openPrivateNats()
    const restart = async (): Promise<void> => {
      await server.signal('SIGKILL')
      await server.start()
    }
    return {
      name: 'NATS',
      url: server.url,
      restart,
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
}

/**
 * Throws an `Error` with a text for the user when a server that was asked for can neither be
 * started nor is given.
 */
export async function openServers(options: DemoOptions, view: View): Promise<Servers> {
  await using opened = new AsyncDisposableStack()
  const one = async (kind: Kind, choice: ServerChoice | undefined): Promise<Server | undefined> => {
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
    return opened.use(await kind.open())
  }
  // Settled first, so that whichever was opened is closed when the other failed.
  const both = await Promise.allSettled([
    one(options.database?.kind === 'mysql' ? mysql : postgres, options.database),
    one(options.broker?.kind === 'nats' ? nats : rabbitmq, options.broker),
  ])
  const [first, second] = both.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
  const all = opened.move()
  return { database: first, broker: second, [Symbol.asyncDispose]: () => all.disposeAsync() }
}

/** The address is not shown: it may have a password. */
async function checkAnswers({ name, greet }: Kind, url: string, from: string): Promise<void> {
  try {
    await greet(url)
  } catch (error) {
    throw new Error(`${name}: the server of ${from} cannot be used: ${reasonOf(error)}`, {
      cause: error,
    })
  }
}

function givenUrl({ problem, variable, option }: Kind, { url }: ServerChoice): string | undefined {
  if (url !== undefined || problem === undefined) return url
  const fallback = process.env[variable]
  if (fallback === undefined)
    throw new Error(`${problem}. Give a server with ${option}, or set ${variable}.`)
  return fallback
}
