import { createClient, RESP_TYPES } from '@redis/client'
import { isMersalError } from '../../core/errors/errors.ts'
import { invalidOption } from '../../core/options.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { type Argument, encoded, runScript, type Script } from '../../lib/redis-script.ts'
import type { Describe } from '../shared/describe.ts'
import { checkConnected } from '../shared/settings.ts'
import type { BrokerClient, Link } from '../shared/link.ts'
import { unavailable } from '../shared/outcomes.ts'
import { within } from '../shared/within.ts'
import { shortfallOf } from './confirm.ts'
import { faultOfServer, isDemotion, isReply, mistakeOf, withDoubtOfTls } from './faults.ts'
import type { Address, RedisSettings } from './options.ts'
import { checkServer, factsOf, type ServerFacts } from './server.ts'

type Client = ReturnType<typeof createClient>

/** A connection to a server that may be used. */
export interface Server {
  readonly client: Client
  readonly facts: ServerFacts
}

export type RedisLink = Link<Server>

const asBytes = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } }

/** Sends one command. Texts of the reply are bytes. */
export function command(client: Client, args: readonly Argument[]): Promise<unknown> {
  return client.sendCommand(args.map(encoded), asBytes)
}

export function run(
  { client }: Server,
  script: Script,
  prefix: string,
  args: readonly Argument[],
): Promise<unknown> {
  return runScript((all) => command(client, all), script, prefix, args)
}

/**
 * Asks over the link, within its time limit. A connection that does not answer is given up, and one
 * to a server that is no master any more. Rejects with `MERSAL_UNAVAILABLE` without an answer.
 */
export async function ask<Result>(
  link: RedisLink,
  work: (server: Server) => Promise<Result>,
): Promise<Result> {
  const { connection } = await link.connection()
  try {
    return await within(systemClock, link.timeoutMs, 'Redis', work(connection))
  } catch (error) {
    if (!isReply(error) || isDemotion(error)) connection.client.destroy()
    throw isMersalError(error) ? error : unavailable(`Redis: ${faultOfServer(error)}`, error).error
  }
}

function clientFor(address: Address, settings: RedisSettings): Client {
  const { source, connectTimeoutMs } = settings
  const tls = 'address' in source ? source.tls : undefined
  const { host, port, secure, username, password, database } = address
  const socket = { host, port, connectTimeout: connectTimeoutMs, reconnectStrategy: false as const }
  const client: unknown = createClient({
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    database,
    name: 'mersal',
    disableClientInfo: true,
    maintNotifications: 'disabled',
    disableOfflineQueue: true,
    socket: secure || tls !== undefined ? { ...socket, ...tls, tls: true as const } : socket,
  })
  return client as Client
}

/** Whatever is asked of a connection that is being made: without an answer it is given up. */
async function bounded<Result>(
  client: Client,
  ms: number,
  who: string,
  work: Promise<Result>,
): Promise<Result> {
  try {
    return await within(systemClock, ms, who, work)
  } catch (error) {
    client.destroy()
    throw error
  }
}

function opened(address: Address, settings: RedisSettings): Client {
  const client = clientFor(address, settings)
  // Without a listener an error would end the process. The one of the link comes later.
  client.on('error', () => {})
  return client
}

async function askSentinel(client: Client, master: string): Promise<unknown> {
  await client.connect()
  return client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master])
}

/**
 * The first sentinel that answers tells where the master is. Each has its share of the time, so
 * that a silent one leaves enough for the others and for the master.
 */
async function masterOf(address: Address, settings: RedisSettings): Promise<Address> {
  const { source, connectTimeoutMs } = settings
  if (!('address' in source) || source.sentinels === undefined) return address
  const { master, nodes, password = '' } = source.sentinels
  const most = Math.ceil(connectTimeoutMs / (nodes.length + 1))
  let last: unknown
  for (const node of nodes) {
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(node) ?? []
    const place = { ...address, host, port: Number(port), username: '', password, database: 0 }
    const client = opened(place, settings)
    try {
      const asking = askSentinel(client, master)
      const answer = await bounded(client, most, `the sentinel ${node}`, asking)
      if (Array.isArray(answer))
        return { ...address, host: String(answer[0]), port: Number(answer[1]) }
      last = invalidOption('redis.sentinels.master', `the sentinels know no '${master}'`)
    } catch (error) {
      last = error
    } finally {
      client.destroy()
    }
  }
  throw last
}

/** What tells it from the clients of other packages. */
const METHODS = ['on', 'connect', 'destroy', 'sendCommand']

async function givenClient(connect: () => Promise<unknown>, ms: number): Promise<Client> {
  const connecting = connect() as Promise<Client>
  try {
    const client = await within(systemClock, ms, "'connect'", connecting)
    checkConnected('redis.connect', client, METHODS, 'a client of @redis/client')
    client.on('error', () => {})
    return client
  } catch (error) {
    // It may come after its time.
    connecting.then(
      (late: Partial<Client> | undefined) => late?.destroy?.(),
      () => {},
    )
    throw error
  }
}

async function serverOf(client: Client, settings: RedisSettings): Promise<Server> {
  if (!client.isOpen) await client.connect()
  if (client.options.RESP === 2)
    throw invalidOption('redis.connect', 'the client needs RESP: 3, which is its default')
  const facts = await factsOf(client, settings)
  checkServer(facts, settings)
  // The answer does not matter: a right that is missing is told at once.
  await shortfallOf({ client, facts }, settings.confirm, 1)
  return { client, facts }
}

/** The client of Redis, as a link needs it. */
export function redisClient(settings: RedisSettings, describe: Describe): BrokerClient<Server> {
  return {
    async open() {
      const { source, connectTimeoutMs } = settings
      if ('connect' in source) {
        const client = await givenClient(source.connect, connectTimeoutMs)
        return bounded(client, connectTimeoutMs, 'Redis', serverOf(client, settings))
      }
      const began = systemClock.monotonic()
      const address = await masterOf(source.address, settings)
      const spent = source.sentinels === undefined ? 0 : systemClock.monotonic() - began
      const ms = Math.max(1, Math.ceil(connectTimeoutMs - spent))
      const client = opened(address, settings)
      const secure = address.secure || source.tls !== undefined
      try {
        return await bounded(client, ms, 'Redis', serverOf(client, settings))
      } catch (error) {
        throw withDoubtOfTls(error, secure, describe)
      }
    },
    watch({ client }, events) {
      client.on('error', (error) => events.lost(error))
      client.on('end', () => events.lost(undefined))
    },
    close: ({ client }) => client.close(),
    destroy: ({ client }) => client.destroy(),
    mistakeIn: (error) => mistakeOf(error, describe),
  }
}
