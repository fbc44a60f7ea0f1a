import { checkConfig } from '../../src/cli/config/config.ts'
import {
  claimCheck,
  cloudEvents,
  encryption,
  fileBodies,
  s3Bodies,
} from '../../src/contracts/index.ts'
import { isMersalError } from '../../src/core/errors/errors.ts'
import { dashboard } from '../../src/dashboard/index.ts'
import { documents } from '../../src/documents.ts'
import { mersal as fastify } from '../../src/fastify/index.ts'
import { createTenants } from '../../src/tenants/index.ts'
import { idempotency } from '../../src/http.ts'
import { command, createRelays, event, Mersal, saga, stopOnSignals } from '../../src/index.ts'
import { memoryDatabase, memoryStore, memoryTransport } from '../../src/memory.ts'
import { Handles, healthIndicator, MersalModule } from '../../src/nestjs.ts'
import { instrument } from '../../src/otel.ts'
import { connectionBudget } from '../../src/postgres.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { mysqlSettings } from '../../src/stores/mysql/options.ts'
import { postgresSettings } from '../../src/stores/postgres/options.ts'
import { redisDocuments } from '../../src/stores/redis/documents.ts'
import { kafkaSettings } from '../../src/transports/kafka/options.ts'
import { mysqlQueueSettings } from '../../src/transports/mysql/options.ts'
import { natsSettings } from '../../src/transports/nats/options.ts'
import { postgresQueueSettings } from '../../src/transports/postgres/options.ts'
import { rabbitSettings } from '../../src/transports/rabbitmq/options.ts'
import { redisSettings } from '../../src/transports/redis/options.ts'
import { crashPoints } from '../../src/testing/index.ts'
import type { Model } from './model.ts'

/** Gives the options to whoever checks them, together with what else it needs. */
type Ask = (given: object) => unknown

/** These functions are asked with what no type allows. */
const untyped =
  (ask: (given: never) => unknown, rest: object = {}): Ask =>
  (given) =>
    ask({ ...rest, ...given } as never)

const shaped = (...names: readonly string[]): object =>
  Object.fromEntries(names.map((name) => [name, () => {}]))

const base = { name: 'app', transport: memoryTransport() }
const routes = { example: 'owner' }
const Example = command('example')
const Happened = event('happened')
const app = (given: object = {}): Mersal => new Mersal({ ...base, routes, ...given })
const withStore = (given: object = {}) => app({ store: memoryStore(), ...given })
const pool = shaped('connect', 'on', 'off', 'end', 'getConnection')
const sql = { pool, schema: 'app' }
const broker = (scheme: string): object => ({ url: `${scheme}://localhost` })
const secret = { token: 'a token of sixteen'.replaceAll(' ', '-') }
const documentMethods = ['load', 'save', 'findWithMessages', 'removeMessages']
const web = shaped('decorate', 'decorateReply', 'addHook', 'route')
const anything = { version: 1, vendor: 'none', validate: (value: unknown) => ({ value }) }
const Process = saga('process', { state: { '~standard': anything } as never })

const asked: Readonly<Record<string, Ask>> = {
  MersalOptions: app,
  OutboxConfig: (outbox) => withStore({ outbox }),
  IdempotencyConfig: (idempotency) => withStore({ idempotency }),
  ReceiveOptions: (receive) => app({ receive }),
  RelayOptions: (relay) => withStore({ outbox: { relay } }),
  RefusalOptions: (own) => withStore({ outbox: { relay: { retries: { [Example.name]: own } } } }),
  Backoff: (given) => app({ receive: { backoff: { firstMs: 1000, longestMs: 60_000, ...given } } }),
  HandleOptions: (given) => app().handle(Example, () => {}, given),
  RetryOptions: (retry) => app().handle(Example, () => {}, { retry }),
  LimitOptions: (limit) => app().handle(Example, () => {}, { limit: { concurrency: 1, ...limit } }),
  SendOptions: async (given) =>
    await withStore().transaction(async (_tx, { send }) => await send(Example, {}, given)),
  TransactionOptions: async (given) => await withStore().transaction(async () => {}, given),
  DrainOptions: async (given) => await app().drain(given),
  RequestOptions: async (given) => await app().request(Example, {}, given),
  OutcomeOptions: async (given) => await withStore().outcome(crypto.randomUUID(), given),
  OnceRequest: async (given) => await withStore().once({ key: 'a', ...given }, async () => 1),
  ContractOptions: (given) => event('example', undefined, given),
  SagaOptions: untyped((given) => saga('example', given), { state: { '~standard': anything } }),
  SagaReactionOptions: (given) =>
    withStore().saga(Process, (on) => {
      on.start(
        Happened,
        () => 'a',
        () => ({}),
      )
      on(
        Example,
        () => 'a',
        () => {},
        given,
      )
    }),
  EventOptions: async (given) =>
    await withStore().transaction(async (_tx, { publish }) => await publish(Happened, {}, given)),
  SignalOptions: (given) => stopOnSignals(app(), given)[Symbol.dispose](),
  RelaysOptions: untyped(createRelays, { stores: { a: memoryStore() }, ...base }),
  SharedOptions: untyped(createRelays, { stores: { a: memoryStore() }, ...base }),
  StoreEntry: (given) =>
    createRelays({ ...base, stores: { a: { store: memoryStore(), ...given } } }),
  TenantsOptions: untyped(createTenants, { tenants: ['a'], store: memoryStore, ...base }),
  MemoryDatabaseOptions: memoryDatabase,
  MemoryStoreOptions: memoryStore,
  MemoryNetworkOptions: memoryTransport,
  SqliteConnectionOptions: untyped(sqlite, { path: ':memory:' }),
  SqliteStoreOptions: untyped(sqlite, { path: ':memory:' }),
  SqliteQueueOptions: untyped(sqliteQueue, { path: ':memory:' }),
  PostgresOptions: untyped(postgresSettings, { pool }),
  PostgresQueueOptions: untyped(postgresQueueSettings, { pool }),
  MysqlOptions: untyped(mysqlSettings, sql),
  MysqlQueueOptions: untyped(mysqlQueueSettings, sql),
  ConnectionBudgetOptions: untyped(connectionBudget, { most: 20 }),
  RabbitOptions: untyped(rabbitSettings, broker('amqp')),
  RabbitBundleOptions: (bundles) => rabbitSettings({ ...broker('amqp'), bundles }),
  NatsOptions: untyped(natsSettings, broker('nats')),
  RedisOptions: untyped(redisSettings, broker('redis')),
  RedisDocumentsOptions: untyped(redisDocuments, { client: shaped('sendCommand') }),
  KafkaOptions: untyped(kafkaSettings, { bootstrapServers: 'localhost:9092' }),
  InstrumentOptions: (given) => instrument(undefined, given)[Symbol.dispose](),
  DashboardOptions: untyped(dashboard, { stores: { a: memoryStore() }, ...secret }),
  FastifyOptions: async (given) => await fastify(web as never, { app: app(), ...given }),
  IdempotencyOptions: (given) => idempotency(app(), given),
  RouteOptions: (given) => idempotency(app()).fetch(() => new Response(), given),
  MersalModuleOptions: (given) => MersalModule.forRoot(base, given),
  MersalModuleAsyncOptions: untyped((given) => MersalModule.forRootAsync(given), {
    useFactory: () => base,
  }),
  HandlesOptions(given) {
    Handles(Example, given)
    app().handle(Example, () => {}, given)
  },
  HealthIndicatorOptions: (given) => healthIndicator(app(), given),
  DocumentsOptions: untyped(documents, { ...base, storage: shaped(...documentMethods) }),
  UpdateOptions: async (given) =>
    await documents({ ...base, storage: shaped(...documentMethods) as never }).update(
      { collection: 'a' } as never,
      'a',
      async () => ({}),
      given,
    ),
  CloudEventsOptions: untyped(cloudEvents, { source: '/a' }),
  EncryptionOptions: untyped(encryption, { current: 'a', keys: { a: Buffer.alloc(32) } }),
  ClaimCheckOptions: untyped(claimCheck, { store: shaped('put', 'get'), aboveBytes: 1000 }),
  FileBodiesOptions: untyped(fileBodies, { directory: '/tmp' }),
  S3BodiesOptions: untyped(s3Bodies, { client: shaped('putObject', 'getObject'), bucket: 'a' }),
  CrashPointsOptions: untyped(crashPoints, {
    store: memoryStore(),
    transport: base.transport,
    at: () => {},
  }),
  MersalConfig: untyped(checkConfig, { store: memoryStore() }),
}

/** The text behind the name of the field, without what was given. */
async function refusal(ask: Ask, name: string, value: unknown): Promise<string | undefined> {
  try {
    await ask({ [name]: value })
    return undefined
  } catch (error) {
    if (!isMersalError(error))
      throw new Error(`the option ${name} throws what is no MersalError`, { cause: error })
    const text = error.message.replace(/^\S+: /, '').replace(/, got .*$/, '')
    return error.code === 'MERSAL_INVALID_OPTIONS' ? text : `${error.code}: ${text}`
  }
}

/**
 * What each option answers to a value that it cannot take, by `Type.option`: asked of the code
 * itself, so that the limits on the pages are those that are checked. `undefined`: it takes all.
 */
export async function refusals(model: Model): Promise<ReadonlyMap<string, string | undefined>> {
  const found = new Map<string, string | undefined>()
  for (const { name: type, members } of [...model.values()].flatMap((all) => [...all.values()])) {
    const ask = asked[type]
    if (ask === undefined) continue
    for (const { name, type: of } of members) {
      const bad = /\bnumber\b/.test(of) ? Number.NaN : Symbol('of no use')
      found.set(`${type}.${name}`, await refusal(ask, name, bad))
    }
  }
  return found
}
