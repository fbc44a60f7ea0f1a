import type { Pool } from 'pg'
import { Mersal } from '../../src/index.ts'
import {
  postgres as postgresStore,
  type PostgresClient,
  postgresQueue,
} from '../../src/postgres.ts'
import { fillPlain, Happened } from '../backlog.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { jsonOf, numberOf, thousandKeys } from '../messages.ts'
import type { BenchServer } from '../server.ts'
import { withClient } from '../with-client.ts'
import {
  AHEAD,
  ALONE,
  type Amounts,
  CONCURRENCY,
  handleAll,
  handled,
  INSERT,
  openTables,
  TOGETHER,
} from './handled.ts'

interface Scene {
  readonly postgres: BenchServer
  readonly pool: Pool
  readonly count: number
  readonly stack: AsyncDisposableStack
}

/** Makes everything ready, and returns what handles all messages. */
type Prepare = (scene: Scene) => Promise<() => Promise<void>>

export function fromPostgres(
  effort: Effort,
  postgres: BenchServer,
  together: boolean,
): Candidate[] {
  const count = amount(effort, 20_000, 3000)
  const candidate = (name: string, prepare: Prepare): Candidate => ({
    name,
    run: () => run(postgres, count, prepare),
  })
  return [
    candidate('take, write, commit', bare),
    candidate('Mersal, 1,000 keys', mersal(true)),
    candidate('Mersal, no keys', mersal(false)),
    candidate('Mersal, no keys, twice as many fetched as handled', mersal(false, AHEAD)),
    ...(together
      ? [candidate('Mersal, no keys, up to 25 in each of 4 transactions', mersal(false, TOGETHER))]
      : []),
  ]
}

async function run(postgres: BenchServer, count: number, prepare: Prepare): Promise<Sample> {
  await using stack = new AsyncDisposableStack()
  const pool = await openTables(postgres.url, stack)
  const work = await prepare({ postgres, pool, count, stack })
  return await handled({ pool, count, servers: { postgres }, work })
}

/** One row after the other, each in the transaction of its business row, on ten connections. */
const bare: Prepare = async ({ postgres, pool, count }) => {
  await withClient(postgres.url, (client) => fillPlain(client, count))
  const take =
    'delete from bench.plain where id = (select id from bench.plain order by id limit 1 for update skip locked) returning body'
  const worker = async (): Promise<void> => {
    const client = await pool.connect()
    for (let more = true; more; ) {
      await client.query('begin')
      const { rows } = await client.query<{ body: Buffer }>(take)
      const [row] = rows
      if (row !== undefined) await client.query(INSERT, [numberOf(row.body)])
      await client.query('commit')
      more = row !== undefined
    }
    client.release()
  }
  return async () => void (await Promise.all(Array.from({ length: CONCURRENCY }, worker)))
}

function mersal(keyed: boolean, { concurrency, batch, ...fetching }: Amounts = ALONE): Prepare {
  return async ({ pool, count, stack }) => {
    const queue = 'bench-receive'
    const open = (name: string) =>
      stack.use(
        new Mersal({
          name,
          store: postgresStore({ pool, schema: 'bench' }),
          transport: postgresQueue({ pool, schema: 'bench', ...fetching }),
          receive: { concurrency },
          routes: { [Happened.name]: queue },
        }),
      )
    const declaring = open(queue)
    await declaring.start()
    await declaring.stop()
    await sendAll(open('bench-sender'), count, keyed)
    const app = open(queue)
    return handleAll(app, { count, batch }, (tx, n) => tx.query(INSERT, [n]))
  }
}

async function sendAll(app: Mersal<PostgresClient>, count: number, keyed: boolean): Promise<void> {
  for (let first = 1; first <= count; first += 500) {
    await app.transaction(async (_, { send }) => {
      for (let number = first; number <= Math.min(count, first + 499); number++) {
        const partitionKey = keyed ? thousandKeys.of(number) : undefined
        await send(Happened, jsonOf(number), partitionKey === undefined ? {} : { partitionKey })
      }
    })
  }
  await app.stop()
}
