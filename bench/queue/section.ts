import { Pool } from 'pg'
import { command, Mersal } from '../../src/index.ts'
import { postgres, type PostgresClient, postgresQueue } from '../../src/postgres.ts'
import { type Candidate, cpuSeconds, interleave, type Sample } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import type { BenchServer } from '../server.ts'
import type { Effort } from '../effort.ts'

const Work = command<{ number: number; text: string }>('bench.work')
const WRITERS = 16
const text = 'x'.repeat(250)

/**
 * The queue in PostgreSQL: a business row and one message per transaction, straight into the queue
 * against outbox and relay. First the senders alone, then from the transaction to the end of its
 * handler, everything in one process.
 */
export async function queue({ runs, seconds, size, servers, only }: Effort): Promise<Table[]> {
  const server = await servers.postgres()
  const options = { warmUp: size !== 'tiny', only }
  const tables: Table[] = []
  for (const keyed of [false, true]) {
    const what = keyed ? 'with 1,000 keys' : 'without keys'
    const [outbox, straight] = [false, true].map((way) => ({ straight: way, keyed })) as [
      Road,
      Road,
    ]
    const alone = [
      row(server, seconds),
      sender(server, seconds, outbox),
      sender(server, seconds, straight),
    ]
    const unit = 'transactions/s'
    const title = `Senders alone, ${WRITERS} at once, ${what}, ${server.version}`
    tables.push(
      tableOf({ id: `queue senders ${what}`, title, unit }, await interleave(alone, runs, options)),
    )
    const whole = [handled(server, seconds, outbox), handled(server, seconds, straight)]
    const end = `From the transaction to its handler, ${what}, ${server.version}`
    tables.push(
      tableOf(
        { id: `queue handled ${what}`, title: end, unit },
        await interleave(whole, runs, options),
      ),
    )
  }
  return tables
}

interface Road {
  readonly straight: boolean
  readonly keyed: boolean
}

const nameOf = ({ straight }: Road): string =>
  straight ? 'straight into the queue' : 'outbox and relay'

/** Runs the work again and again on so many hands for so long. Returns how often. */
async function repeat(
  seconds: number,
  work: (number: number) => Promise<unknown>,
): Promise<number> {
  const until = performance.now() + seconds * 1000
  let count = 0
  const hand = async (): Promise<void> => {
    while (performance.now() < until) await work(count++)
  }
  await Promise.all(Array.from({ length: WRITERS }, hand))
  return count
}

/** One measured run on a schema of its own. */
async function measured(
  server: BenchServer,
  work: (
    pool: Pool,
    schema: string,
  ) => Promise<{
    readonly count: number
    readonly faults: readonly string[]
    readonly elapsedMs: number
  }>,
): Promise<Sample> {
  const schema = 'bench_queue'
  const pool = new Pool({ connectionString: server.url, max: WRITERS + 10 })
  try {
    await pool.query(
      `drop schema if exists ${schema} cascade; create schema ${schema}; create table ${schema}.business (number integer)`,
    )
    const before = [cpuSeconds(process.pid), cpuSeconds(server.pid)]
    const { count, faults, elapsedMs } = await work(pool, schema)
    const per = (pid: number, start = 0): number => ((cpuSeconds(pid) - start) / count) * 100_000
    return {
      rate: (count / elapsedMs) * 1000,
      cpu: { node: per(process.pid, before[0]), server: per(server.pid, before[1]) },
      faults,
    }
  } finally {
    await pool.end()
  }
}

const insert = (
  tx: Pick<PostgresClient, 'query'>,
  schema: string,
  number: number,
): Promise<unknown> => tx.query(`insert into ${schema}.business values ($1)`, [number])

function row(server: BenchServer, seconds: number): Candidate {
  return {
    name: 'the business row alone',
    run: () =>
      measured(server, async (pool, schema) => {
        await using store = postgres({ pool, schema })
        await store.open()
        const began = performance.now()
        const count = await repeat(seconds, (number) =>
          store.unitOfWork((tx) => insert(tx, schema, number)),
        )
        return { count, faults: [], elapsedMs: performance.now() - began }
      }),
  }
}

function appOn(pool: Pool, schema: string, road: Road, runs: boolean): Mersal<PostgresClient> {
  return new Mersal({
    name: 'bench',
    store: postgres({ pool, schema }),
    transport: postgresQueue({ pool, schema, straight: road.straight }),
    receive: { concurrency: 32 },
    outbox: { runRelay: runs },
    ...(runs ? {} : { sendOnly: true, routes: { 'bench.work': 'bench' } }),
  })
}

function send(
  app: Mersal<PostgresClient>,
  schema: string,
  { keyed }: Road,
): (number: number) => Promise<unknown> {
  return (number) =>
    app.transaction(async (tx, sender) => {
      await insert(tx, schema, number)
      await sender.send(
        Work,
        { number, text },
        keyed ? { partitionKey: `key ${number % 1000}` } : {},
      )
    })
}

function sender(server: BenchServer, seconds: number, road: Road): Candidate {
  return {
    name: nameOf(road),
    run: () =>
      measured(server, async (pool, schema) => {
        await using queues = postgresQueue({ pool, schema })
        await queues.subscribe('bench', [])
        await using app = appOn(pool, schema, road, false)
        await app.start()
        const began = performance.now()
        const count = await repeat(seconds, send(app, schema, road))
        const elapsedMs = performance.now() - began
        const table = road.straight ? 'queue_message' : 'outbox'
        const { rows } = await pool.query<{ n: number }>(
          `select count(*)::int as n from ${schema}.${table}`,
        )
        return {
          count,
          faults: rows[0]?.n === count ? [] : [`${rows[0]?.n} messages of ${count} in ${table}`],
          elapsedMs,
        }
      }),
  }
}

function handled(server: BenchServer, seconds: number, road: Road): Candidate {
  return {
    name: nameOf(road),
    run: () =>
      measured(server, async (pool, schema) => {
        await using app = appOn(pool, schema, road, true)
        let times = 0
        const numbers = new Set<number>()
        const last = new Map<number, number>()
        let inversions = 0
        let changed = Promise.withResolvers<void>()
        app.handle(Work, ({ number }) => {
          times++
          numbers.add(number)
          if (road.keyed) {
            if ((last.get(number % 1000) ?? -1) > number) inversions++
            last.set(number % 1000, number)
          }
          changed.resolve()
        })
        await app.start()
        const began = performance.now()
        const count = await repeat(seconds, send(app, schema, road))
        while (numbers.size < count) {
          changed = Promise.withResolvers()
          await changed.promise
        }
        const elapsedMs = performance.now() - began
        const faults = times === count ? [] : [`${times} times handled of ${count}`]
        // Two transactions of one key may commit in another order than they began; that is rare
        // with 1,000 keys and 16 hands.
        return {
          count,
          faults: inversions > count / 100 ? [...faults, `${inversions} inversions`] : faults,
          elapsedMs,
        }
      }),
  }
}
