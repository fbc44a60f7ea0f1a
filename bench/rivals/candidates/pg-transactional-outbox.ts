import { randomUUID } from 'node:crypto'
import { Pool, type PoolClient } from 'pg'
import { loadPeer } from '../../peers/load.ts'
import {
  type Box,
  type Message,
  type PgTransactionalOutbox,
  setupOf,
} from '../../peers/pg-transactional-outbox.ts'
import {
  type Library,
  type Opened,
  type Ports,
  type Statements,
  transaction,
} from '../candidate.ts'
import type { Body } from '../plan.ts'

async function prepare(pool: Pool, { DatabaseSetup }: PgTransactionalOutbox<Body>): Promise<void> {
  const { rows } = await pool.query(`select to_regclass('pto.inbox') is not null as there`)
  if ((rows[0] as { there: boolean }).there) return
  for (const box of ['outbox', 'inbox'] as const)
    for (const make of [
      'dropAndCreateTable',
      'createPollingFunction',
      'setupPollingIndexes',
    ] as const)
      await pool.query(DatabaseSetup[make](setupOf(box)))
}

/**
 * Both boxes by polling, with a segment for each key. A step of the outbox puts the message into the
 * inbox of the same database, in place of a broker.
 */
async function open(ports: Ports): Promise<Opened> {
  const { database, watch } = ports
  const library = await loadPeer<PgTransactionalOutbox<Body>>('pg-transactional-outbox')
  const { initializeMessageStorage, initializePollingMessageListener, getDisabledLogger } = library
  const pool = new Pool({ connectionString: database, max: 8 })
  pool.on('connect', watch)
  await prepare(pool, library)
  const storage = (box: Box) =>
    initializeMessageStorage(
      { settings: { dbSchema: 'pto', dbTable: box }, outboxOrInbox: box },
      getDisabledLogger(),
    )
  const [toOutbox, toInbox] = [storage('outbox'), storage('inbox')]
  const shutdowns: (() => Promise<void>)[] = []
  const watched = new WeakSet<PoolClient>()
  const listen = (
    box: Box,
    handle: (message: Message<Body>, client: PoolClient) => Promise<void>,
  ): void => {
    const [shutdown] = initializePollingMessageListener(
      {
        outboxOrInbox: box,
        dbListenerConfig: { connectionString: database },
        dbHandlerConfig: { connectionString: database, max: 8 },
        settings: {
          dbSchema: 'pto',
          dbTable: box,
          maxAttempts: 3,
          nextMessagesFunctionSchema: 'pto',
          nextMessagesFunctionName: `next_${box}_messages`,
          nextMessagesBatchSize: 10,
          nextMessagesPollingIntervalInMs: 100,
        },
      },
      { handle },
      getDisabledLogger(),
    )
    shutdowns.push(shutdown)
  }
  return {
    write: (body) =>
      transaction(
        () => pool.connect(),
        async (client) => {
          await ports.row(client, body)
          const message = {
            id: randomUUID(),
            aggregateType: 'rivals',
            aggregateId: String(body.n),
            messageType: 'happened',
            segment: body.line,
            concurrency: 'sequential',
            payload: body,
          }
          await toOutbox(message, client)
        },
      ),
    async consume(handle) {
      listen('outbox', (message) =>
        transaction(
          () => pool.connect(),
          (client) => toInbox(message, client),
        ),
      )
      listen('inbox', async ({ payload }, client) => {
        if (!watched.has(client)) watch(client)
        watched.add(client)
        await handle(client, payload)
      })
    },
    async [Symbol.asyncDispose]() {
      for (const shutdown of shutdowns) await shutdown()
      await pool.end()
    },
  }
}

async function given(_servers: unknown, query: Statements): Promise<number> {
  const text = 'select count(*)::int as n from pto.inbox where abandoned_at is not null'
  return ((await query.query(text)) as { rows: { n: number }[] }).rows[0]?.n ?? 0
}

export const library: Library = { open, given }
