/**
 * One relay program, three databases and three brokers, as docs/bridges.md has them. Two servers at
 * a time are killed or frozen.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import { describe, expect, test } from 'vitest'
import { mariadbProblem, privateMariadb } from '../../scripts/servers/mariadb.ts'
import { isPresent } from '../../scripts/servers/present.ts'
import { brokerProblem, openPrivateBroker } from '../../scripts/servers/rabbitmq.ts'
import type { Transport } from '../../src/core/transport.ts'
import { event, Mersal, type Store } from '../../src/index.ts'
import { kafka } from '../../src/kafka.ts'
import { memoryTransport } from '../../src/memory.ts'
import { mysql } from '../../src/mysql.ts'
import { postgres } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { redis } from '../../src/redis.ts'
import { sqlite } from '../../src/sqlite.ts'
import { openProject, type Project, sourceUrl } from '../cli/project.ts'
import { root } from '../house/sources.ts'
import { plainClient as plainKafka } from '../kafka/plain-client.ts'
import { kafkaIsHere, openPrivateKafka } from '../kafka/server.ts'
import { clusterAvailable, privateCluster } from '../postgres/cluster.ts'
import { plainClient as plainRabbit } from '../rabbitmq/plain-client.ts'
import { streamOf } from '../redis/plain-client.ts'
import { openPrivateRedis, redisIsHere } from '../redis/server.ts'

const here = [
  isPresent(mariadbProblem()),
  isPresent(brokerProblem()),
  kafkaIsHere(),
  redisIsHere(),
  clusterAvailable(),
].every(Boolean)

const KEYS = 5
const Changed = event<{ key: number; n: number }>('changed')

/** What came to a broker, in its order: `key/n`. */
type Arrivals = () => Promise<readonly string[]>

interface Road {
  readonly name: string
  /** Commits this many more messages of each key, or nothing. */
  write(count: number): Promise<void>
  /** Writes, and takes back. */
  rollBack(): Promise<void>
  readonly arrivals: Arrivals
  written: number
}

/** The configuration that the page shows, with our sources in place of the package. */
function configOfPage(): string {
  const page = readFileSync(join(root, 'docs/bridges.md'), 'utf8')
  const block = /^```ts relay\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? ''
  return block.replaceAll(/'mersal\/(\w+)'/g, (_, name: string) =>
    JSON.stringify(sourceUrl(name === 'cli' ? 'cli/index.ts' : `${name}.ts`)),
  )
}

const textOf = (body: Uint8Array | string | null | undefined): string => {
  const { key, n } = JSON.parse(Buffer.from(body ?? '{}').toString()) as { key: number; n: number }
  return `${key}/${n}`
}

/** Writes into an outbox, and leaves the rest to the relay program. */
async function roadOf<Tx>(
  stack: AsyncDisposableStack,
  name: string,
  store: Store<Tx>,
  arrivals: Arrivals,
): Promise<Road> {
  const app = new Mersal({
    name,
    store,
    transport: memoryTransport(),
    sendOnly: true,
    outbox: { runRelay: false },
    logger: false,
  })
  await app.start()
  stack.defer(() => app.stop())
  const road: Road = {
    name,
    arrivals,
    written: 0,
    async write(count) {
      for (let turn = 0; turn < count; turn++) {
        const n = road.written
        await app.transaction(async (_tx, { publish }) => {
          for (let key = 0; key < KEYS; key++)
            await publish(Changed, { key, n }, { partitionKey: `k${key}` })
        })
        road.written++
      }
    },
    rollBack: () =>
      app
        .transaction(async (_tx, { publish }) => {
          await publish(Changed, { key: 0, n: -1 }, { partitionKey: 'k0' })
          throw new Error('taken back')
        })
        .catch(() => {}),
  }
  return road
}

/** Everything that was committed, each key in its order; copies are left out. */
async function settled({ name, arrivals, written }: Road): Promise<void> {
  const all = Array.from({ length: KEYS }, (_, key) =>
    Array.from({ length: written }, (__, n) => `${key}/${n}`),
  )
  for (;;) {
    const first = [...new Set(await arrivals())]
    const ofKeys = all.map((__, key) => first.filter((text) => text.startsWith(`${key}/`)))
    if (first.length >= KEYS * written)
      return expect({ name, ofKeys }).toEqual({ name, ofKeys: all })
    await wait(50)
  }
}

async function queueOn(transport: Transport): Promise<void> {
  await using opened = transport
  await opened.subscribe('reports', [Changed.name])
}

async function openWorld(stack: AsyncDisposableStack) {
  const [cluster, mariadb, broker, log, cache] = await Promise.all([
    privateCluster(),
    privateMariadb(),
    openPrivateBroker(),
    openPrivateKafka({ config: ['group.initial.rebalance.delay.ms=0'] }),
    openPrivateRedis(),
  ])
  for (const server of [cluster, mariadb, broker, log, cache]) stack.use(server)
  const project = stack.use(openProject(configOfPage()))
  await queueOn(rabbitmq({ url: broker.url }))
  await queueOn(kafka({ bootstrapServers: log.server }))
  await queueOn(redis({ url: cache.url }))

  const pool = new Pool({ connectionString: cluster.url })
  pool.on('error', () => {})
  stack.defer(() => pool.end())
  const database = createPool(mariadb.url)
  await database.query('create database stock')
  await database.end()
  const stock = `${mariadb.url}/stock`
  const stockPool = createPool(stock)
  stack.defer(() => stockPool.end())

  const found: string[] = []
  const roads = {
    orders: await roadOf(stack, 'orders', postgres({ pool }), async () => {
      // It is taken out of the queue, so what was found before comes first.
      await using plain = await plainRabbit(broker.url)
      found.push(...(await plain.drain('reports')).map(({ content }) => textOf(content)))
      return found
    }),
    stock: await roadOf(stack, 'stock', mysql({ pool: stockPool }), async () => {
      await using plain = await plainKafka(log.server)
      return (await plain.all('mersal.queue.reports')).map(({ body }) => textOf(body))
    }),
    till: await roadOf(stack, 'till', sqlite({ path: project.file('till.db') }), async () =>
      (await streamOf(cache.url, '{mersal}:queue:reports')).map(({ body }) => textOf(body)),
    ),
  }
  const env = {
    ORDERS_URL: cluster.url,
    STOCK_URL: stock,
    AMQP_URL: broker.url,
    KAFKA_URL: `kafka://${log.server}`,
    REDIS_URL: cache.url,
  }
  return { cluster, mariadb, broker, log, cache, project, roads, env }
}

async function relayIn(project: Project, env: Readonly<Record<string, string>>) {
  const relay = project.start(['relay'], env)
  await relay.says(/3 stores/)
  return relay
}

describe.runIf(here)('one relay program for three databases and three brokers', () => {
  test('P8, P2, P5: what is killed or frozen holds up only its own road; nothing is lost, of no key the order', async () => {
    await using stack = new AsyncDisposableStack()
    const { cluster, mariadb, broker, log, cache, project, roads, env } = await openWorld(stack)
    const { orders, stock, till } = roads
    let relay = await relayIn(project, env)
    for (const road of Object.values(roads)) {
      await road.write(10)
      await road.rollBack()
      await settled(road)
    }

    // A database stands still, and a broker of another one is killed: the third road goes on.
    await stock.write(5)
    await mariadb.freeze()
    await broker.signal('SIGKILL')
    await orders.write(10)
    await till.write(10)
    await settled(till)
    await mariadb.thaw()
    await stock.write(10)
    await settled(stock) // while RabbitMQ is still away
    await broker.start()
    await settled(orders)

    // The other way round, and the relay itself is killed under load.
    const writing = Promise.all([stock.write(10), till.write(10)])
    await log.signal('SIGSTOP')
    await cluster.kill()
    await writing
    await settled(till)
    await cache.signal('SIGKILL')
    await till.write(10)
    await relay.signal('SIGKILL')
    await cluster.start()
    await orders.write(10)
    relay = await relayIn(project, env)
    await settled(orders) // while Kafka stands still, and Redis is away
    await log.signal('SIGCONT')
    await cache.start()
    await Promise.all([settled(stock), settled(till)])

    const { code, stderr } = await relay.signal('SIGTERM')
    expect(stderr).toContain('everything was settled')
    expect(code).toBe(0)
  })
})
