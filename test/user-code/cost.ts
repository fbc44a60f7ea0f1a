/**
 * What the guards of `pg` cost a writer: `npm run user-code:cost [-- --rounds 8 --seconds 3
 * --connections 8]`. The sources as they are and a copy without guards take turns, in an order that
 * changes from round to round. Ratios of a round, and their median: 1 costs nothing.
 */
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { Pool } from 'pg'
import { plant } from '../chaos/plant.ts'
import { serverUrl } from '../postgres/database.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '8' },
  },
})

/** No look at statements, tags and savepoints, no proof, nothing that is to be awaited. */
const unguarded = {
  name: 'unguarded',
  changes: [
    {
      file: 'sql/postgres/unit/unit-handle.ts',
      from: 'return guarded(client, given, this)',
      to: 'return client.query(...given)',
    },
    {
      file: 'sql/postgres/unit/tags.ts',
      from: 'if (!this.#watching) return',
      to: "if (tag !== 'never') return",
    },
    {
      file: 'sql/postgres/unit/proof.ts',
      from: 'when strpos(${MARKS}, ${mark}::text) > 0 then true\n    when ${only}::boolean then false\n    else ${leave(mark)} is not null and pg_catalog.pg_current_xact_id_if_assigned() is not null end`',
      to: 'else ${only}::boolean is not null end`',
    },
    {
      file: 'app/unit/unit.ts',
      from: 'const loose = this.#calls.find(isLoose)\n    if (loose !== undefined) throw',
      to: "const loose = this.#calls[0]\n    if (loose?.what === 'never') throw",
    },
  ],
}

const roads = ['transaction', 'within'] as const
type Road = (typeof roads)[number]

interface Build extends AsyncDisposable {
  /** Transactions in each second. */
  measure(road: Road): Promise<number>
}

type Index = typeof import('../../src/index.ts')
type Memory = typeof import('../../src/memory.ts')
type Postgres = typeof import('../../src/postgres.ts')

async function load<Module>(source: string, face: string): Promise<Module> {
  return (await import(pathToFileURL(join(source, `${face}.ts`)).href)) as Module
}

async function open(source: string): Promise<Build> {
  const { Mersal, event } = await load<Index>(source, 'index')
  const { memoryTransport } = await load<Memory>(source, 'memory')
  const { postgres } = await load<Postgres>(source, 'postgres')
  const schema = `cost_${randomUUID().slice(0, 8)}`
  const pool = new Pool({ connectionString: serverUrl, max: Number(values.connections) })
  const app = new Mersal({
    name: 'cost',
    store: postgres({ pool, schema }),
    transport: memoryTransport(),
    outbox: { runRelay: false },
    sendOnly: true,
    logger: false,
  })
  await app.start()
  await pool.query(`create table ${schema}.business (text text not null)`)
  const Placed = event<{ text: string }>('orders.placed')
  const body = { text: 'x'.repeat(220) }
  const insert = `insert into ${schema}.business values ('a row')`
  const transact: Readonly<Record<Road, () => Promise<void>>> = {
    transaction: () =>
      app.transaction(async (tx, { publish }) => {
        await tx.query(insert)
        await publish(Placed, body)
      }),
    async within() {
      const client = await pool.connect()
      await client.query('begin')
      await client.query(insert)
      await app.within(client).publish(Placed, body)
      await client.query('commit')
      client.release()
    },
  }
  return {
    async measure(road) {
      await pool.query(`truncate ${schema}.outbox, ${schema}.business`)
      const began = performance.now()
      const end = began + Number(values.seconds) * 1000
      let done = 0
      const lane = async (): Promise<void> => {
        for (; performance.now() < end; done++) await transact[road]()
      }
      await Promise.all(Array.from({ length: Number(values.connections) }, lane))
      return (done / (performance.now() - began)) * 1000
    },
    async [Symbol.asyncDispose]() {
      await app.stop()
      await pool.query(`drop schema ${schema} cascade`)
      await pool.end()
    },
  }
}

const median = (given: readonly number[]): number => {
  const sorted = given.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return ((sorted[middle] ?? NaN) + (sorted[(sorted.length - 1) >> 1] ?? NaN)) / 2
}

async function compare(road: Road, guarded: Build, without: Build): Promise<void> {
  const ratios: number[] = []
  // The first ones only warm up.
  for (const build of [guarded, without]) await build.measure(road)
  for (let round = 0; round < Number(values.rounds); round++) {
    const order = round % 2 === 0 ? [guarded, without] : [without, guarded]
    const rates = new Map<Build, number>()
    for (const build of order) rates.set(build, await build.measure(road))
    const [present, removed] = [rates.get(guarded) ?? NaN, rates.get(without) ?? NaN]
    ratios.push(present / removed)
    process.stderr.write(
      `${road}: ${Math.round(present)}/s with guards, ${Math.round(removed)}/s without: ${(present / removed).toFixed(3)}\n`,
    )
  }
  process.stdout.write(
    `${road}: with guards ${median(ratios).toFixed(3)} of the rate without, median of ${ratios.length} rounds (${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)})\n`,
  )
}

const folder = await plant(unguarded, ['src', 'package.json'])
try {
  await using guarded = await open(join(import.meta.dirname, '../../src'))
  await using without = await open(join(folder, 'src'))
  for (const road of roads) await compare(road, guarded, without)
} finally {
  await rm(folder, { recursive: true })
}
