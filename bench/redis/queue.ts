import { createClient } from '@redis/client'
import { type RedisOptions, redis } from '../../src/redis.ts'
import { bodyOf } from '../messages.ts'

export const HASTY: Omit<RedisOptions, 'url'> = { logger: false }

/** A queue of one run, made as Mersal makes it. */
export interface RedisQueue {
  readonly url: string
  readonly prefix: string
  readonly name: string
  readonly stream: string
}

let queues = 0

export async function declare(url: string): Promise<RedisQueue> {
  const prefix = `bench-${process.pid}-${++queues}`
  await using transport = redis({ url, prefix, ...HASTY })
  await transport.subscribe('queue', [])
  return { url, prefix, name: 'queue', stream: `{${prefix}}:queue:queue` }
}

export type Client = Awaited<ReturnType<typeof openClient>>

/** A client as anybody has it. */
export async function openClient(url: string) {
  return await createClient({ url }).connect()
}

export const idOf = (number: number): string =>
  `0190a1b2-c3d4-7e5f-8a6b-${String(number).padStart(12, '0')}`

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
