import type { Receive, Receiving } from '../brokers/receiving.ts'
import { numberOf } from '../messages.ts'
import { CONCURRENCY, writeByHand } from '../receive/handled.ts'
import { bare } from './publish.ts'
import { openClient, type RedisQueue, road } from './queue.ts'

/** How many a consumer fetches at once. */
const AT_ONCE = 100
const GROUP = 'mersal'

interface Entry {
  readonly id: string
  readonly message: Readonly<Record<string, string>>
}

/** Begin, write, commit, acknowledge without waiting for an answer; ten at a time. */
function bareConsumer(inbox: boolean): Receive<RedisQueue> {
  return async ({ pool, queue: { url, stream }, count }, stack) => {
    const client = stack.adopt(await openClient(url), (opened) => opened.close())
    const handle = async ({ id, message }: Entry): Promise<void> => {
      const number = numberOf(Buffer.from(message['body'] ?? ''))
      await writeByHand(pool, number, inbox ? message['id'] : undefined)
      answers.push(client.xAck(stream, GROUP, id), client.xDel(stream, id))
    }
    const answers: Promise<unknown>[] = []
    const inHand = new Set<Promise<void>>()
    for (let taken = 0; taken < count; ) {
      const of = { key: stream, id: '>' }
      const streams = await client.xReadGroup(GROUP, 'bench', of, { COUNT: AT_ONCE })
      const [{ messages }] = streams as unknown as [{ messages: readonly Entry[] }]
      taken += messages.length
      for (const entry of messages) {
        if (inHand.size === CONCURRENCY) await Promise.race(inHand)
        const work = handle(entry).finally(() => inHand.delete(work))
        inHand.add(work)
      }
    }
    await Promise.all(inHand)
    await Promise.all(answers)
  }
}

export const receiving: Receiving<RedisQueue> = { road, fill: bare, byHand: bareConsumer }
