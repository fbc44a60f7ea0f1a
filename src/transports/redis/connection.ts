import { createHash } from 'node:crypto'
import { createClient, RESP_TYPES } from '@redis/client'
import { isMersalError } from '../../core/errors/errors.ts'
import { invalidOption } from '../../core/options.ts'
import { systemClock } from '../../lib/async/clock.ts'
import type { Describe } from '../shared/describe.ts'
import type { BrokerClient, Link } from '../shared/link.ts'
import { unavailable } from '../shared/outcomes.ts'
import { within } from '../shared/within.ts'
import { faultOfServer, isDemotion, isReply, mistakeOf, wordOf } from './faults.ts'
import type { Address, RedisSettings } from './options.ts'
import type { Script } from './scripts.ts'
import { checkServer, factsOf, type ServerFacts } from './server.ts'

type Client = ReturnType<typeof createClient>
type Argument = string | number | Uint8Array

/** A connection to a server that may be used. */
export interface Server {
  readonly client: Client
  readonly facts: ServerFacts
}

export type RedisLink = Link<Server>

const asBytes = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } }

/** Encoded as the client wants them. The bytes are not copied. */
function encoded(argument: Argument): string | Buffer {
  if (typeof argument === 'string') return argument
  if (typeof argument === 'number') return String(argument)
  return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
}

const digests = new Map<Script, string>()

function digestOf(script: Script): string {
  let digest = digests.get(script)
  if (digest === undefined) {
    digest = createHash('sha1').update(script.text).digest('hex')
    digests.set(script, digest)
  }
  return digest
}

/** Sends one command. Texts of the reply are bytes. */
export function command(client: Client, args: readonly Argument[]): Promise<unknown> {
  return client.sendCommand(args.map(encoded), asBytes)
}

/** Runs a script by its digest; a server that does not know it gets its text. */
export async function run(
  { client }: Server,
  script: Script,
  prefix: string,
  args: readonly Argument[],
): Promise<unknown> {
  try {
    return await command(client, ['EVALSHA', digestOf(script), 1, prefix, ...args])
  } catch (error) {
    if (wordOf(error) !== 'NOSCRIPT') throw error
    return command(client, ['EVAL', script.text, 1, prefix, ...args])
  }
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

async function connected(client: Client): Promise<Client> {
  // Without a listener an error would end the process. The one of the link comes later.
  client.on('error', () => {})
  await client.connect()
  return client
}

/** The first sentinel that answers tells where the master is. */
async function masterOf(address: Address, settings: RedisSettings): Promise<Address> {
  const { source } = settings
  if (!('address' in source) || source.sentinels === undefined) return address
  const { master, nodes, password = '' } = source.sentinels
  let last: unknown
  for (const node of nodes) {
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(node) ?? []
    const place = { ...address, host, port: Number(port), username: '', password, database: 0 }
    const client = clientFor(place, settings)
    try {
      await connected(client)
      const answer = await client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master])
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

async function openClient(settings: RedisSettings): Promise<Client> {
  const { source } = settings
  if ('connect' in source) {
    const client = (await source.connect()) as unknown as Client
    client.on('error', () => {})
    if (client.options.RESP === 2)
      throw invalidOption('redis.connect', 'the client needs RESP: 3, which is its default')
    return client
  }
  return connected(clientFor(await masterOf(source.address, settings), settings))
}

/** The client of Redis, as a link needs it. */
export function redisClient(settings: RedisSettings, describe: Describe): BrokerClient<Server> {
  return {
    async open() {
      const client = await openClient(settings)
      try {
        const facts = await factsOf(client)
        checkServer(facts, settings)
        return { client, facts }
      } catch (error) {
        client.destroy()
        throw error
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
