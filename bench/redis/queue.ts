import { createClient } from '@redis/client'
import { type RedisOptions, redis } from '../../src/redis.ts'
import { idOf, newPrefix, type Road } from '../brokers/road.ts'
import { bodyOf } from '../messages.ts'

export const HASTY: Omit<RedisOptions, 'url'> = { logger: false }

/** A queue of one run, made as Mersal makes it. */
export interface RedisQueue {
  readonly url: string
  readonly prefix: string
  readonly name: string
  readonly stream: string
}

export async function declare(url: string): Promise<RedisQueue> {
  const prefix = newPrefix()
  await using transport = redis({ url, prefix, ...HASTY })
  await transport.subscribe('queue', [])
  return { url, prefix, name: 'queue', stream: `{${prefix}}:queue:queue` }
}

export const road: Road<RedisQueue> = {
  broker: 'redis',
  declare,
  transport: ({ url, prefix }) => redis({ url, prefix, ...HASTY }),
}

export type Client = Awaited<ReturnType<typeof openClient>>

/** A client as anybody has it. */
export async function openClient(url: string) {
  return await createClient({ url }).connect()
}

/** The fields of a message, as Mersal stores it. */
export const fieldsOf = (number: number): string[] => [
  'id',
  idOf(number),
  'type',
  'bench.happened',
  'headers',
  '{"content-type":"application/json"}',
  'body',
  bodyOf(number).toString(),
]

const AT_ONCE = 1000

/** The bodies of a stream, in its order. */
export async function bodiesOf(client: Client, stream: string): Promise<string[]> {
  const bodies: string[] = []
  for (let from = '-'; ; ) {
    const entries = (await client.xRange(stream, from, '+', { COUNT: AT_ONCE })) ?? []
    bodies.push(...entries.map(({ message }) => String(message['body'])))
    const last = entries.at(-1)
    if (last === undefined || entries.length < AT_ONCE) return bodies
    from = `(${last.id}`
  }
}
