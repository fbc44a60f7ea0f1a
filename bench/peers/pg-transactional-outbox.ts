import { randomUUID } from 'node:crypto'
import type { Client, PoolClient } from 'pg'
import { bodySql, type Body, jsonOf } from '../messages.ts'
import { loadPeer } from './load.ts'

/** A message as a handler gets it. */
export interface Message<Payload> {
  readonly id: string
  readonly payload: Payload
}

/** Which table of the library. */
export type Box = 'outbox' | 'inbox'

interface Setup {
  readonly outboxOrInbox: Box
  readonly database: string
  readonly schema: string
  readonly table: string
  readonly listenerRole: string
  readonly nextMessagesName: string
}

/** What is used here of pg-transactional-outbox. */
export interface PgTransactionalOutbox<Payload> {
  readonly DatabaseSetup: Readonly<
    Record<
      'dropAndCreateTable' | 'createPollingFunction' | 'setupPollingIndexes',
      (setup: Setup) => string
    >
  >
  readonly initializeMessageStorage: (
    config: object,
    logger: object,
  ) => (message: object, client: object) => Promise<void>
  readonly initializePollingMessageListener: (
    config: object,
    handler: { handle(message: Message<Payload>, client: PoolClient): Promise<void> },
    logger: object,
  ) => readonly [shutdown: () => Promise<void>]
  readonly getDisabledLogger: () => object
}

/** Where the table of a box and what belongs to it stand. */
export const setupOf = (box: Box): Setup => ({
  outboxOrInbox: box,
  database: 'postgres',
  schema: 'pto',
  table: box,
  listenerRole: 'postgres',
  nextMessagesName: `next_${box}_messages`,
})

const setup = setupOf('outbox')

const library = (): Promise<PgTransactionalOutbox<Body>> =>
  loadPeer<PgTransactionalOutbox<Body>>('pg-transactional-outbox')

/** Its table of unprocessed messages, for a look at what is left. */
export const unprocessed = 'pto.outbox where processed_at is null'

/** Makes its table anew, with messages that may be processed side by side. */
export async function fillTransactional(client: Client, count: number): Promise<void> {
  const { DatabaseSetup } = await library()
  await client.query(DatabaseSetup.dropAndCreateTable(setup))
  await client.query(DatabaseSetup.createPollingFunction(setup))
  await client.query(DatabaseSetup.setupPollingIndexes(setup))
  await client.query(`insert into pto.outbox (id, aggregate_type, aggregate_id, message_type, concurrency, payload)
    select gen_random_uuid(), 'bench', n::text, 'happened', 'parallel', (${bodySql})::jsonb from generate_series(1, ${count}) n order by n`)
  await client.query('vacuum analyze')
}

/**
 * By polling: its listener on the replication stream loses messages, which a run here may not.
 * Returns what ends it.
 */
export async function listenTransactional(
  connectionString: string,
  onBody: (body: Body) => Promise<void>,
): Promise<() => Promise<void>> {
  const { initializePollingMessageListener, getDisabledLogger } = await library()
  const settings = {
    dbSchema: setup.schema,
    dbTable: setup.table,
    enableMaxAttemptsProtection: false,
    enablePoisonousMessageProtection: false,
    nextMessagesFunctionSchema: setup.schema,
    nextMessagesFunctionName: setup.nextMessagesName,
    nextMessagesBatchSize: 100,
    nextMessagesPollingIntervalInMs: 10,
  }
  const config = {
    outboxOrInbox: 'outbox',
    dbListenerConfig: { connectionString },
    dbHandlerConfig: { connectionString, max: 20 },
    settings,
  }
  const [shutdown] = initializePollingMessageListener(
    config,
    { handle: ({ payload }) => onBody(payload) },
    getDisabledLogger(),
  )
  return shutdown
}

/** Returns what stores a message in the transaction of the caller. */
export async function sendTransactional(): Promise<
  (client: PoolClient, number: number) => Promise<void>
> {
  const { initializeMessageStorage, getDisabledLogger } = await library()
  const store = initializeMessageStorage(
    { settings: { dbSchema: setup.schema, dbTable: setup.table }, outboxOrInbox: 'outbox' },
    getDisabledLogger(),
  )
  return (client, number) => {
    const payload = jsonOf(number)
    const message = {
      id: randomUUID(),
      aggregateType: 'bench',
      aggregateId: payload.n,
      messageType: 'happened',
      concurrency: 'parallel',
      payload,
    }
    return store(message, client)
  }
}
