import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Transport } from '../../src/core/transport.ts'
import { nats } from '../../src/nats.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { redis } from '../../src/redis.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { openPrivateNats } from '../../scripts/servers/nats.ts'
import { openPrivateRedis } from '../../scripts/servers/redis.ts'
import { openVhost } from '../../scripts/servers/vhost.ts'

/**
 * What order per key costs: the same messages, of 1,000 keys, handled with and without it. A queue
 * in a database keeps the order of each key always; there the others have no key. `node
 * bench/receive/order.ts [rabbitmq] [nats] [redis] [sqlite]`; prints one JSON line for each run.
 */
const MESSAGES = Number(process.env['ORDER_MESSAGES'] ?? 10_000)
const KEYS = 1000
const ROUNDS = 3
const CONCURRENCY = 100
const HANDLER_MS = 1

interface Broker extends AsyncDisposable {
  readonly name: string
  readonly open: () => Transport
}

const brokers: Readonly<Record<string, () => Promise<Broker>>> = {
  async rabbitmq() {
    const place = await openVhost()
    const open = () => rabbitmq({ url: place.url, logger: false })
    return { name: 'rabbitmq', open, [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() }
  },
  async nats() {
    const server = await openPrivateNats()
    const open = () => nats({ url: server.url, logger: false })
    return { name: 'nats', open, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  },
  async redis() {
    const server = await openPrivateRedis({})
    const open = () => redis({ url: server.url, logger: false })
    return { name: 'redis', open, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  },
  async sqlite() {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-order-'))
    const open = () => sqliteQueue({ path: join(folder, 'queue.db') })
    return {
      name: 'sqlite',
      open,
      [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }),
    }
  },
}

async function run(broker: Broker, inOrder: boolean): Promise<void> {
  await using transport = broker.open()
  const isAlways = transport.features.orderPerKey === 'always'
  const orderPerKey = inOrder && !isAlways
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
            ...(isAlways && !inOrder ? {} : { partitionKey: key }),
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
    `${JSON.stringify({ broker: broker.name, inOrder, messages: MESSAGES, keys: KEYS, perSecond, outOfOrder })}\n`,
  )
}

const [, , ...asked] = process.argv
for (const name of asked.length === 0 ? Object.keys(brokers) : asked) {
  const open = brokers[name]
  if (open === undefined) throw new Error(`no broker '${name}': ${Object.keys(brokers).join(', ')}`)
  await using broker = await open()
  for (let round = 0; round < ROUNDS; round++)
    for (const inOrder of [false, true]) await run(broker, inOrder)
}
