import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import type { OutgoingMessage } from '../src/core/messages/message.ts'
import type { Store } from '../src/core/store.ts'
import { silentLogger } from '../src/core/telemetry.ts'
import { uuidv7 } from '../src/lib/uuid.ts'
import { memoryStore } from '../src/memory.ts'
import { mysql } from '../src/mysql.ts'
import { createRelay } from '../src/outbox/relay.ts'
import { relaySettings } from '../src/outbox/options.ts'
import { postgres } from '../src/postgres.ts'
import { sqlite } from '../src/sqlite.ts'
import { confirming, environment, percentile } from './measuring.ts'

// How long after its time a delayed message is handed to the broker.
// node scripts/measure-delays.ts --stores sqlite,postgres,mysql --messages 1000

const { values } = parseArgs({
  options: {
    stores: { type: 'string', default: 'memory,sqlite,postgres,mysql' },
    messages: { type: 'string', default: '1000' },
    least: { type: 'string', default: '200' },
    most: { type: 'string', default: '5000' },
    postgres: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432/test' },
    mysql: { type: 'string', default: 'mysql://root@127.0.0.1:3306' },
  },
})
const [count, least, most] = [values.messages, values.least, values.most].map(Number) as [
  number,
  number,
  number,
]
const name = `measure_${randomUUID().slice(0, 8)}`

interface Opened extends AsyncDisposable {
  readonly store: Store<never>
}

async function onFile(): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), name))
  const store = sqlite({ path: join(folder, 'file'), logger: silentLogger })
  return opened(store, () => rm(folder, { recursive: true }))
}

async function onPostgres(): Promise<Opened> {
  const pool = new Pool({ connectionString: values.postgres, max: 6 })
  await pool.query(`create schema ${name}`)
  return opened(postgres({ pool, schema: name, logger: silentLogger }), async () => {
    await pool.query(`drop schema ${name} cascade`)
    await pool.end()
  })
}

async function onMysql(): Promise<Opened> {
  const administrator = createPool({ uri: values.mysql, connectionLimit: 1 })
  await administrator.query(`create database ${name}`)
  const pool = createPool({ uri: `${values.mysql}/${name}`, connectionLimit: 6 })
  return opened(mysql({ pool, logger: silentLogger }), async () => {
    await pool.end()
    await administrator.query(`drop database ${name}`)
    await administrator.end()
  })
}

function opened<Tx>(store: Store<Tx>, clean: () => Promise<void>): Opened {
  return {
    store: store as unknown as Store<never>,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await clean()
    },
  }
}

const places: Readonly<Record<string, () => Promise<Opened>>> = {
  memory: async () => opened(memoryStore(), () => Promise.resolve()),
  sqlite: onFile,
  postgres: onPostgres,
  mysql: onMysql,
}

async function measure(place: string): Promise<void> {
  await using open = await (places[place] as () => Promise<Opened>)()
  const { store } = open
  await store.open()
  const dueAt = new Map<string, number>()
  const late: number[] = []
  let questions = 0
  let claims = 0
  const { outbox } = store
  const transport = confirming('per-key', ({ id }) =>
    late.push(Date.now() - (dueAt.get(id) ?? Number.NaN)),
  )
  const relay = createRelay({
    environment,
    storage: {
      claim(request) {
        claims++
        return outbox.claim(request)
      },
      settle: (list) => outbox.settle(list),
      waiting: {
        upcoming(options) {
          questions++
          return outbox.waiting?.upcoming(options) ?? Promise.resolve([])
        },
      },
    },
    transports: new Map([['default', transport]]),
    wakers: store.wakers,
    settings: relaySettings(),
  })
  const to = { transport: 'default', kind: 'queue', name: 'q' } as const
  relay.start()
  await sleep(1000)
  const messages = Array.from({ length: count }, (): OutgoingMessage => {
    const delayMs = least + Math.random() * (most - least)
    const id = uuidv7(Date.now())
    return { id, type: 't', headers: {}, body: new Uint8Array(100), to, delayMs }
  })
  for (let from = 0; from < count; from += 100) {
    const some = messages.slice(from, from + 100)
    await store.unitOfWork((tx) => {
      for (const { id, delayMs = 0 } of some) dueAt.set(id, Date.now() + delayMs)
      return outbox.save(tx, some)
    })
    relay.wake()
  }
  const until = Date.now() + most + 10_000
  while (late.length < count && Date.now() < until) await sleep(50)
  await relay.stop()
  late.sort((a, b) => a - b)
  const [first, middle, end, last] = [0, 0.5, 0.99, 1].map((part) => percentile(late, part))
  process.stdout.write(
    `${place.padEnd(8)} ${late.length} of ${count}: earliest ${first} ms, p50 ${middle} ms, p99 ${end} ms, latest ${last} ms; ${claims} claims, ${questions} questions\n`,
  )
}

for (const place of values.stores.split(',')) await measure(place)
