import { type Client, bodiesOf, declare, openClient, type RedisQueue } from '../redis/queue.ts'

/** Documents that messages 1, 2, 3, … change in turns. */
export const DOCUMENTS = 1000
/** Changes under way at one time, each of another document. */
export const AT_ONCE = 32

export interface Scene {
  /** Where every message has to arrive. */
  readonly queue: RedisQueue
  readonly client: Client
  readonly count: number
}

/** Changes a document for each number, and resolves when all messages have arrived. */
export type Change = (scene: Scene) => Promise<void>

export const documentOf = (number: number): string => String(number % DOCUMENTS)

/** The changes of one document come one after the other, since fewer are under way at one time. */
export async function changing(
  { count }: Scene,
  change: (number: number) => Promise<unknown>,
): Promise<void> {
  let next = 1
  const one = async (): Promise<void> => {
    while (next <= count) await change(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, one))
}

const LONGEST_MS = 120_000

export async function arrived({ client, queue, count }: Scene): Promise<void> {
  const late = performance.now() + LONGEST_MS
  while ((await client.xLen(queue.stream)) < count) {
    if (performance.now() > late) throw new Error('not all messages have arrived')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export async function openScene(url: string, count: number): Promise<Scene & AsyncDisposable> {
  const queue = await declare(url)
  const client = await openClient(url)
  await client.sAdd(`{${queue.prefix}}:topic:bench.happened`, queue.name)
  await client.sAdd(`{${queue.prefix}}:topics:${queue.name}`, 'bench.happened')
  return {
    queue,
    client,
    count,
    async [Symbol.asyncDispose]() {
      for await (const keys of client.scanIterator({ MATCH: `{${queue.prefix}}:*`, COUNT: 1000 }))
        if (keys.length > 0) await client.del(keys)
      await client.close()
    },
  }
}

export const bodies = ({ client, queue }: Scene): Promise<string[]> =>
  bodiesOf(client, queue.stream)
