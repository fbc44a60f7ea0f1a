/** One page of types: what it shows of which sub-path, in this order. */
export interface PagePlan {
  readonly file: string
  readonly title: string
  readonly intro: string
  readonly parts: readonly PartPlan[]
}

export interface PartPlan {
  /** Sub-path of the package, such as `./sqlite`. */
  readonly path: string
  /** Names in this order. Default: all that the sub-path exports and no other page has. */
  readonly names?: readonly string[]
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/)

const whole = (...paths: readonly string[]): readonly PartPlan[] => paths.map((path) => ({ path }))
const main = (names: string): readonly PartPlan[] => [{ path: '.', names: words(names) }]

/** What no page names is on the last one, for those who write adapters. */
export const typePages: readonly PagePlan[] = [
  {
    file: 'app',
    title: 'The app',
    intro: 'An app is one instance of `Mersal`: a name, an input queue, handlers, ways to send.',
    parts: main(`Mersal MersalOptions OutboxConfig IdempotencyConfig TransactionOptions OnceRequest
      OnceResult Drained DrainOptions RequestOptions OutcomeOptions MessageState runUntilSignal stopOnSignals
      SignalOptions SignalStop LifecycleHook AppState AppHealth HealthPart HealthStatus Logger
      stderrLogger silentLogger`),
  },
  {
    file: 'tenants',
    title: 'Tenants',
    intro: 'One app over many databases or schemas. See [tenants](../tenants.md).',
    parts: whole('./tenants'),
  },
  {
    file: 'sending',
    title: 'Sending',
    intro: 'Message types, the ways to send, and the options of one send.',
    parts:
      main(`command event ContractOptions Upcaster Sender TransactionSender UnitSender SendOptions Address Cancellation Route
      CheckBodies CommandType EventType MessageType Envelope Destination destinationKey headerNames
      StandardSchema SchemaResult SchemaIssue Serializer jsonSerializer`),
  },
  {
    file: 'receiving',
    title: 'Receiving',
    intro: 'Handlers, what they are given, when a message comes again, and steps around them.',
    parts:
      main(`Handler HandlerContext HandleOptions RetryOptions LimitOptions ReceiveOptions Backoff reject
      retryLater HandlingStep HandlingContext Step IncomingStep IncomingContext OutgoingStep
      OutgoingContext`),
  },
  {
    file: 'sagas',
    title: 'Sagas',
    intro: 'A process of several messages whose state commits with them. See [sagas](../sagas.md).',
    parts: main(`saga SagaOptions SagaType SagaReactions SagaReactionOptions SagaContext SagaKeyOf
      SagaDuration SagaMissing`),
  },
  {
    file: 'relay',
    title: 'The relay',
    intro:
      'What moves messages from the outbox to the broker. `outbox.relay` of an app, `relay` of ' +
      '`mersal.config.ts`, and `createRelays` take the same options. See [the relay](../relay.md).',
    parts:
      main(`RelayOptions RefusalOptions createRelays RelaysOptions SharedOptions Stores StoreEntry RelayStore
      Relays ServedRelay`),
  },
  {
    file: 'stores',
    title: 'Databases',
    intro:
      'The stores, and the queues that live in a database. How to set each one up: ' +
      '[PostgreSQL](../postgres.md), [MySQL and MariaDB](../mysql.md), ' +
      '[a queue in PostgreSQL](../postgres-queue.md).',
    parts: whole('./sqlite', './postgres', './mysql', './pglite', './memory'),
  },
  {
    file: 'libraries',
    title: 'Database libraries',
    intro:
      'Sessions: how a store works in the transactions of your library. See [libraries](../libraries.md).',
    parts: whole(
      './drizzle',
      './knex',
      './kysely',
      './mikro-orm',
      './postgres-js',
      './prisma',
      './sequelize',
      './typeorm',
    ),
  },
  {
    file: 'brokers',
    title: 'Brokers',
    intro:
      'The transports. How to set each one up: [RabbitMQ](../rabbitmq.md), [NATS](../nats.md), ' +
      '[Redis](../redis.md), [Kafka](../kafka.md).',
    parts: whole('./rabbitmq', './nats', './redis', './kafka'),
  },
  {
    file: 'http',
    title: 'HTTP',
    intro:
      'Requests that take effect once, and pages about the health of apps. See ' +
      '[once for a whole request](../once.md) and [telemetry](../telemetry.md).',
    parts: whole('./http'),
  },
  {
    file: 'dashboard',
    title: 'The dashboard',
    intro: 'A page for operators, and the API beneath it. See [the dashboard](../dashboard.md).',
    parts: whole('./dashboard'),
  },
  {
    file: 'fastify',
    title: 'Fastify',
    intro: 'An app in a server of Fastify. See [Fastify](../fastify.md).',
    parts: whole('./fastify'),
  },
  {
    file: 'nestjs',
    title: 'NestJS',
    intro: 'An app in a program of Nest. See [NestJS](../nestjs.md).',
    parts: whole('./nestjs'),
  },
  {
    file: 'otel',
    title: 'OpenTelemetry',
    intro: 'Spans, metrics and traces that travel. See [telemetry](../telemetry.md).',
    parts: whole('./otel'),
  },
  {
    file: 'contracts',
    title: 'Contracts',
    intro: 'How bodies travel. See [contracts that live long](../contracts.md).',
    parts: whole('./contracts'),
  },
  {
    file: 'documents',
    title: 'Documents',
    intro:
      'An outbox where a database writes one record at a time. See [documents](../documents.md).',
    parts: whole('./documents'),
  },
  {
    file: 'testing',
    title: 'Testing',
    intro:
      'Tools for your tests, and the suites that every adapter must pass. See [testing](../testing.md).',
    parts: whole('./testing'),
  },
  {
    file: 'cli',
    title: 'The configuration of the program',
    intro: 'What `mersal.config.ts` exports.',
    parts: whole('./cli'),
  },
  {
    file: 'ports',
    title: 'Ports',
    intro:
      'What stores, transports and serializers are made of. See [writing a store](../writing-a-store.md) ' +
      'and [writing a transport](../writing-a-transport.md).',
    parts: whole('.'),
  },
]
