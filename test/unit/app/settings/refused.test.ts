import { createPool } from 'mysql2/promise'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { kysely } from '../../../../src/sql/sessions/kysely.ts'
import { knex } from '../../../../src/sql/sessions/knex.ts'
import { typeorm } from '../../../../src/sql/sessions/typeorm.ts'
import { sequelize } from '../../../../src/sql/sessions/sequelize.ts'
import { mikroOrm } from '../../../../src/sql/sessions/mikro-orm.ts'
import { drizzle } from '../../../../src/sql/sessions/drizzle.ts'
import { postgresJs } from '../../../../src/sql/sessions/postgres-js.ts'
import { prisma } from '../../../../src/sql/sessions/prisma.ts'
import { document, documents } from '../../../../src/documents.ts'
import { idempotency } from '../../../../src/http.ts'
import { createRelays, Mersal } from '../../../../src/index.ts'
import { kafka } from '../../../../src/kafka.ts'
import {
  memoryDatabase,
  memoryNetwork,
  memoryStore,
  memoryTransport,
} from '../../../../src/memory.ts'
import {
  mysql,
  mysqlMigrationSql,
  mysqlQueue,
  mysqlQueueMigrationSql,
} from '../../../../src/mysql.ts'
import { nats } from '../../../../src/nats.ts'
import { MersalModule } from '../../../../src/nestjs.ts'
import { pglite, pglitePool } from '../../../../src/pglite.ts'
import {
  connectionBudget,
  postgres,
  postgresMigrationSql,
  postgresQueue,
  postgresQueueMigrationSql,
} from '../../../../src/postgres.ts'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { redis } from '../../../../src/redis.ts'
import { sqlite, sqliteQueue } from '../../../../src/sqlite.ts'
import { createTenants } from '../../../../src/tenants/index.ts'
import { capture, manualClock } from '../../../../src/testing/index.ts'

const mysqlPool = createPool({ uri: 'mysql://127.0.0.1:1/shop' })
const pool = new pg.Pool({ host: '127.0.0.1', port: 1 })
afterAll(() => Promise.all([mysqlPool.end(), pool.end()]))

const transport = memoryTransport()
const store = memoryStore()
const app = new Mersal({ name: 'shop', transport, store })
const path = ':memory:'
const storage = { load() {}, save() {}, findWithMessages() {}, removeMessages() {} }
const pem = '-----BEGIN CERTIFICATE-----\n'
const connect = () => Promise.reject(new Error('not called'))

/** A program without types: what they forbid is given all the same. */
type Maker = (options: never) => unknown
const made = (make: Maker, options: unknown) => async () => make(options as never)

const clocks: readonly [field: string, make: Maker, options: object][] = [
  ['clock', (o) => new Mersal(o), { name: 'shop', transport, store }],
  ['relays.clock', createRelays, { stores: { main: store }, transport }],
  ['memoryNetwork.clock', memoryNetwork, {}],
  ['memoryDatabase.clock', memoryDatabase, {}],
  ['memoryDatabase.clock', memoryStore, {}],
  ['connectionBudget.clock', connectionBudget, { most: 4 }],
  ['postgres.clock', postgres, { pool }],
  ['postgresQueue.clock', postgresQueue, { pool }],
  ['mysql.clock', mysql, { pool: mysqlPool }],
  ['mysqlQueue.clock', mysqlQueue, { pool: mysqlPool }],
  ['sqlite.clock', sqlite, { path }],
  ['sqliteQueue.clock', sqliteQueue, { path }],
]

test.each(clocks)('%s must be a clock', async (field, make, options) => {
  for (const clock of [null, 5, 'now', {}, [], Date])
    await expect(made(make, { ...options, clock })()).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field },
    })
})

const randoms = clocks.filter(([field]) => !/memory|Budget|mysql\.|sqlite\./.test(field))

test.each(randoms)('%s: random must be a function', async (field, make, options) => {
  for (const random of [null, 0.5, 'often', {}])
    await expect(made(make, { ...options, random })()).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: field.replace('clock', 'random') },
    })
})

test.each<[field: string, make: Maker, options: unknown]>([
  ['routes', (o) => new Mersal(o), { name: 'shop', transport, routes: null }],
  ['bridges', (o) => new Mersal(o), { name: 'shop', transport, bridges: null }],
  [
    'idempotency.tracker',
    (o) => new Mersal(o),
    { name: 'shop', transport, store, idempotency: { tracker: null } },
  ],
  ['routes', createTenants, { name: 'shop', transport, tenants: [], store, routes: null }],
  ['relays.stores', createRelays, { transport }],
  ['relays.stores', createRelays, { transport, stores: null }],
  ['relays.bridges', createRelays, { transport, stores: { main: store }, bridges: null }],
  ['documents.bridges', documents, { name: 'shop', storage, transport, bridges: null }],
  ['documents.routes', documents, { name: 'shop', storage, transport, routes: null }],
  ["documents.routes['pay']", documents, { name: 'shop', storage, transport, routes: { pay: 7 } }],
  ['transaction()', (o) => app.transaction(() => Promise.resolve(), o), null],
  ['idempotency().headers', (o) => idempotency(app, o), { headers: [null] }],
  ['schema', (o) => document('accounts', o), { type: 'object' }],
  ['imports', (o) => MersalModule.forRootAsync(o), { useFactory: () => ({}), imports: 'x' }],
  ['inject', (o) => MersalModule.forRootAsync(o), { useFactory: () => ({}), inject: null }],
  ['app', capture, null],
  ['manualClock().startAt', manualClock, { startAt: 'now' }],
  ['postgres.schema', postgres, { pool, schema: null }],
  ['postgresQueue.schema', postgresQueue, { pool, schema: null }],
  ['postgres.connections', postgres, { pool, connections: [] }],
  ['postgresMigrationSql().shcema', postgresMigrationSql, { shcema: 'shop' }],
  ['postgresQueueMigrationSql().from', postgresQueueMigrationSql, { from: '2' }],
  ['mysqlMigrationSql()', mysqlMigrationSql, null],
  ['mysqlQueueMigrationSql().from', mysqlQueueMigrationSql, { schema: 'shop', from: Number.NaN }],
  ['redis.confirm.replicas', redis, { url: 'redis://a', confirm: {} }],
  [
    'redis.sentinels.nodes',
    redis,
    { url: 'redis://a', sentinels: { master: 'm', nodes: ['u:secret@a:1'] } },
  ],
  [
    'kafka.sasl.token',
    kafka,
    {
      bootstrapServers: 'a',
      sasl: { mechanism: 'PLAIN', username: 'u', password: 'p', token: 't' },
    },
  ],
  [
    'kafka.sasl.password',
    kafka,
    { bootstrapServers: 'a', sasl: { mechanism: 'OAUTHBEARER', token: 't', password: 'p' } },
  ],
  ['nats.tls', nats, { url: 'tls://a', tls: [] }],
  ['nats.tls', nats, { connect, tls: { ca: pem } }],
  ['nats.tls.cafile', nats, { url: 'tls://a', tls: { cafile: 'ca.pem' } }],
  ['nats.tls.ca', nats, { url: 'tls://a', tls: { ca: 'ca.pem' } }],
  ['nats.tls.ca', nats, { url: 'tls://a', tls: { ca: pem, caFile: 'ca.pem' } }],
  ['nats.tls.key', nats, { url: 'tls://a', tls: { certFile: 'cert.pem' } }],
  ['nats.tls.caFile', nats, { url: 'tls://a', tls: { caFile: 7 } }],
  ['nats.tls.handshakeFirst', nats, { url: 'tls://a', tls: { handshakeFirst: 'yes' } }],
  ['rabbitmq.tls', rabbitmq, { url: 'amqps://a', tls: [] }],
  ['rabbitmq.tls', rabbitmq, { url: 'amqp://a', tls: { ca: pem } }],
  ['rabbitmq.tls', rabbitmq, { connect, tls: { ca: pem } }],
])('%s is refused with its name', async (field, make, options) => {
  await expect(made(make, options)()).rejects.toMatchObject({
    code: 'MERSAL_INVALID_OPTIONS',
    details: { field },
  })
})

const sessions = {
  kysely,
  knex,
  typeorm,
  sequelize,
  mikroOrm,
  postgresJs,
  prisma,
  pglite,
  pglitePool,
}

test.each(Object.entries(sessions))(
  '%s() says what it wants of the library',
  async (name, make) => {
    for (const given of [undefined, null, {}, 'the database'])
      await expect(made(make, given)()).rejects.toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        details: { field: `${name}()` },
      })
  },
)

test('drizzle() says that it wants the sql of drizzle-orm', async () => {
  const db = { transaction: () => Promise.reject(new Error('not called')) }
  await expect(made((o) => drizzle(db, o), undefined)()).rejects.toThrow("{ sql } of 'drizzle-orm'")
})
