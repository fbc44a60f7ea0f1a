import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { openVhost } from '../../scripts/servers/vhost.ts'

/**
 * What order per key costs on RabbitMQ: the same messages, of 1,000 keys, handled with and without
 * it. `node bench/receive/order.ts`; prints one JSON line for each run.
 */
const MESSAGES = Number(process.env['ORDER_MESSAGES'] ?? 10_000)
const KEYS = 1000
const ROUNDS = 3
const CONCURRENCY = 100
const HANDLER_MS = 1

async function run(url: string, orderPerKey: boolean): Promise<void> {
  await using transport = rabbitmq({ url, logger: false })
  const queue = `bench-${randomUUID()}`
  await transport.subscribe(queue, [])
  // The queues are made before, as they are in the life of an app.
  const early = await transport.consume({ queue, concurrency: 1, orderPerKey }, async () => ({
    kind: 'release',
  }))
  await early[Symbol.asyncDispose]()
  for (let first = 0; first < MESSAGES; first += 1000) {
    const outcomes = await Promise.all(
      transport.publish(
        Array.from({ length: 1000 }, (_, index) => {
          const key = `key-${(first + index) % KEYS}`
          return {
            id: randomUUID(),
            type: 'bench.order',
            headers: { 'partition-key': key, number: String(Math.floor((first + index) / KEYS)) },
            body: Buffer.alloc(200),
            to: { transport: 'default', kind: 'queue', name: queue } as const,
            partitionKey: key,
          }
        }),
      ),
    )
    if (outcomes.some(({ kind }) => kind !== 'confirmed')) throw new Error('not confirmed')
  }
  const next = new Map<string, number>()
  let handled = 0
  let outOfOrder = 0
  const done = Promise.withResolvers<void>()
  const began = performance.now()
  await using _ = await transport.consume(
    { queue, concurrency: CONCURRENCY, orderPerKey },
    async ({ message: { headers } }) => {
      await sleep(HANDLER_MS)
      const key = String(headers['partition-key'])
      if (Number(headers['number']) !== (next.get(key) ?? 0)) outOfOrder++
      next.set(key, (next.get(key) ?? 0) + 1)
      if (++handled === MESSAGES) done.resolve()
      return { kind: 'ack' }
    },
  )
  await done.promise
  const seconds = (performance.now() - began) / 1000
  const perSecond = Math.round(MESSAGES / seconds)
  process.stdout.write(
    `${JSON.stringify({ orderPerKey, messages: MESSAGES, keys: KEYS, perSecond, outOfOrder })}\n`,
  )
}

await using place = await openVhost()
for (let round = 0; round < ROUNDS; round++)
  for (const orderPerKey of [false, true]) await run(place.url, orderPerKey)
