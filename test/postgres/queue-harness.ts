import { type Logger, silentLogger } from '../../src/core/telemetry.ts'
import type { Delivery, Disposition } from '../../src/core/transport.ts'
import { type Mersal, Mersal as App, command, event, type MersalOptions } from '../../src/index.ts'
import {
  postgres,
  type PostgresClient,
  type PostgresOptions,
  postgresQueue,
  type PostgresQueue,
  type PostgresQueueOptions,
} from '../../src/postgres.ts'
import { testDatabase, type TestDatabase } from './database.ts'

export const Work = command<{ label: string }>('test.work')
export const Happened = event<{ label: string }>('test.happened')

export interface QueueHarness extends AsyncDisposable {
  readonly database: TestDatabase
  queue(options?: Partial<PostgresQueueOptions>): PostgresQueue
  /**
   * An app whose store and queue are in the schema of this harness. It handles both types, and
   * tells what it got.
   */
  app(name: string, options?: AppOptions): TestApp
  /** Types (labels) of the rows, in the order of their positions. */
  rows(table: 'outbox' | 'queue_message'): Promise<string[]>
}

export interface AppOptions {
  readonly queue?: Partial<PostgresQueueOptions>
  readonly store?: Partial<PostgresOptions>
  readonly app?: Partial<MersalOptions<PostgresClient>>
  readonly onWork?: (label: string) => Promise<void> | void
}

interface TestApp {
  readonly app: Mersal<PostgresClient>
  /** Labels, as they were handled. */
  readonly handled: string[]
  /** Resolves when this number was handled. */
  seen(count: number): Promise<void>
}

/** Queues, stores and apps on one schema of its own, each with connections of its own. */
export async function queueHarness(): Promise<QueueHarness> {
  const database = await testDatabase()
  const { schema } = database
  const stack = new AsyncDisposableStack()
  const queue = (options: Partial<PostgresQueueOptions> = {}): PostgresQueue =>
    stack.use(postgresQueue({ pool: database.newPool(), schema, logger: silentLogger, ...options }))
  return {
    database,
    queue,
    app(name, { queue: queueOptions, store, app: more = {}, onWork } = {}) {
      const pool = database.newPool()
      const app = stack.use(
        new App<PostgresClient>({
          name,
          store: postgres({ pool, schema, logger: silentLogger, ...store }),
          transport: queue({ pool, ...queueOptions }),
          logger: false,
          ...more,
        }),
      )
      const handled: string[] = []
      let changed = Promise.withResolvers<void>()
      const note = async ({ label }: { readonly label: string }): Promise<void> => {
        await onWork?.(label)
        handled.push(label)
        changed.resolve()
        changed = Promise.withResolvers()
      }
      if (more.sendOnly !== true) {
        app.handle(Work, note)
        app.handle(Happened, note)
      }
      const seen = async (count: number): Promise<void> => {
        while (handled.length < count) await changed.promise
      }
      return { app, handled, seen }
    },
    rows: async (table) =>
      (
        await database.query(
          `select convert_from(body, 'UTF8')::json ->> 'label' as label from ${schema}.${table} order by position`,
        )
      ).map((row) => String(row['label'])),
    async [Symbol.asyncDispose]() {
      await stack.disposeAsync()
      await database[Symbol.asyncDispose]()
    },
  }
}

/**
 * Consumes until this number of deliveries have come; answers each with what `answer` says, by
 * default `ack`.
 */
export async function consume(
  queue: PostgresQueue,
  name: string,
  count: number,
  answer: (delivery: Delivery) => Disposition | Promise<Disposition> = () => ({ kind: 'ack' }),
): Promise<Delivery[]> {
  const deliveries: Delivery[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const consumption = await queue.consume({ queue: name, concurrency: 1 }, async (delivery) => {
    deliveries.push(delivery)
    if (deliveries.length === count) resolve()
    return deliveries.length > count ? { kind: 'release' } : await answer(delivery)
  })
  await promise
  await consumption[Symbol.asyncDispose]()
  return deliveries
}

export function collecting(): { readonly warnings: string[]; readonly logger: Logger } {
  const warnings: string[] = []
  const nothing = (): void => {}
  return {
    warnings,
    logger: {
      debug: nothing,
      info: nothing,
      error: nothing,
      warn: (_, text) => void warnings.push(text),
    },
  }
}
