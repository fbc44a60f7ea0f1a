import type { Pool } from 'pg'
import { Mersal } from '../../src/index.ts'
import { postgres as postgresStore } from '../../src/postgres.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { CONCURRENCY, handleAll, handled, INSERT, openTables } from '../receive/handled.ts'
import type { BenchServer } from '../server.ts'
import type { Road, RunQueue } from './road.ts'

export interface Scene<Queue> {
  readonly pool: Pool
  readonly queue: Queue
  readonly count: number
}

/** Handles the messages of a queue, and resolves when all have been handled. */
export type Receive<Queue> = (scene: Scene<Queue>, stack: AsyncDisposableStack) => Promise<void>

export interface Receiving<Queue extends RunQueue> {
  readonly road: Road<Queue>
  readonly fill: (queue: Queue, count: number) => Promise<void>
  /** A hand-written consumer, with an inbox row for each message or without. */
  readonly byHand: (inbox: boolean) => Receive<Queue>
  /** Takes away what is left of the queue. Default: it stays. */
  readonly remove?: (queue: Queue) => Promise<void>
}

export interface Servers {
  readonly postgres: BenchServer
  readonly broker: BenchServer
}

/** Consumers that write one business row for each message. */
export function receivingCandidates<Queue extends RunQueue>(
  receiving: Receiving<Queue>,
  effort: Effort,
  servers: Servers,
): Candidate[] {
  const count = amount(effort, 20_000, 3000)
  const { road, byHand } = receiving
  const candidate = (name: string, receive: Receive<Queue>): Candidate => ({
    name,
    run: () => run(receiving, servers, receive, count),
  })
  return [
    candidate('consumer with a business row', byHand(false)),
    candidate('consumer with an inbox row and a business row', byHand(true)),
    candidate('Mersal', through(road)),
  ]
}

async function run<Queue extends RunQueue>(
  { road, fill, remove }: Receiving<Queue>,
  { postgres, broker }: Servers,
  receive: Receive<Queue>,
  count: number,
): Promise<Sample> {
  const queue = await road.declare(broker.url)
  await fill(queue, count)
  const sample = await inTables(postgres, (pool, stack) =>
    handled({
      pool,
      count,
      servers: { postgres, [road.broker]: broker },
      work: () => receive({ pool, queue, count }, stack),
    }),
  )
  await remove?.(queue)
  return sample
}

/** What is on the stack ends before this does. */
async function inTables(
  postgres: BenchServer,
  work: (pool: Pool, stack: AsyncDisposableStack) => Promise<Sample>,
): Promise<Sample> {
  await using stack = new AsyncDisposableStack()
  return await work(await openTables(postgres.url, stack), stack)
}

const through =
  <Queue extends RunQueue>({ transport }: Road<Queue>): Receive<Queue> =>
  async ({ pool, queue, count }, stack) => {
    const app = stack.use(
      new Mersal({
        name: queue.name,
        store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
        transport: transport(queue),
        receive: { concurrency: CONCURRENCY },
      }),
    )
    await handleAll(app, { count, batch: 1 }, (tx, n) => tx.query(INSERT, [n]))()
  }
