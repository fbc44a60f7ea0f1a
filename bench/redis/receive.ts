import type { Pool } from 'pg'
import { Mersal } from '../../src/index.ts'
import { postgres as postgresStore } from '../../src/postgres.ts'
import { redis } from '../../src/redis.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { numberOf } from '../messages.ts'
import {
  CONCURRENCY,
  handleAll,
  handled,
  INSERT,
  openTables,
  writeByHand,
} from '../receive/handled.ts'
import type { BenchServer } from '../server.ts'
import { declare, fieldsOf, HASTY, openClient, type RedisQueue } from './queue.ts'

interface Scene {
  readonly pool: Pool
  readonly queue: RedisQueue
  readonly count: number
}

/** Handles the messages of a queue, and resolves when all have been handled. */
type Receive = (scene: Scene, stack: AsyncDisposableStack) => Promise<void>

export function receiving(effort: Effort, postgres: BenchServer, server: BenchServer): Candidate[] {
  const count = amount(effort, 20_000, 3000)
  const candidate = (name: string, receive: Receive): Candidate => ({
    name,
    run: () => run({ postgres, server, count }, receive),
  })
  return [
    candidate('consumer with a business row', bareConsumer(false)),
    candidate('consumer with an inbox row and a business row', bareConsumer(true)),
    candidate('Mersal', mersalConsumer),
  ]
}

async function run(
  { postgres, server, count }: { postgres: BenchServer; server: BenchServer; count: number },
  receive: Receive,
): Promise<Sample> {
  await using stack = new AsyncDisposableStack()
  const pool = await openTables(postgres.url, stack)
  const queue = await declare(server.url)
  await fill(queue, count)
  return await handled({
    pool,
    count,
    servers: { postgres, redis: server },
    work: () => receive({ pool, queue, count }, stack),
  })
}

async function fill({ url, stream }: RedisQueue, count: number): Promise<void> {
  const client = await openClient(url)
  for (let number = 1; number <= count; number += 500)
    await Promise.all(
      Array.from({ length: Math.min(500, count - number + 1) }, (_, index) =>
        client.sendCommand(['XADD', stream, '*', ...fieldsOf(number + index)]),
      ),
    )
  await client.close()
}

/** How many a consumer fetches at once. */
const AT_ONCE = 100
const GROUP = 'mersal'

interface Entry {
  readonly id: string
  readonly message: Readonly<Record<string, string>>
}

/** Begin, write, commit, acknowledge without waiting for an answer; ten at a time. */
function bareConsumer(inbox: boolean): Receive {
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

const mersalConsumer: Receive = async ({ pool, queue: { url, prefix, name }, count }, stack) => {
  const app = stack.use(
    new Mersal({
      name,
      store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
      transport: redis({ url, prefix, ...HASTY }),
      receive: { concurrency: CONCURRENCY },
    }),
  )
  await handleAll(app, { count, batch: 1 }, (tx, n) => tx.query(INSERT, [n]))()
}
