/**
 * A schema with the tables of the program, a queue that is the log, and `mersal relay` as a
 * process.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { openProject, type Project, type Running, sourceUrl } from '../../cli/project.ts'
import { serverUrl, type TestDatabase, testDatabase } from '../../postgres/database.ts'
import { businessTables } from './writer.ts'

export interface Place extends AsyncDisposable {
  readonly database: TestDatabase
  readonly broker: string
  /** Name of the queue, and of the only type of message. */
  readonly log: string
  readonly project: Project
}

function config(schema: string): string {
  return `
import { Pool } from 'pg'
import { defineConfig } from '${sourceUrl('cli/index.ts')}'
import { postgres } from '${sourceUrl('postgres.ts')}'
import { rabbitmq } from '${sourceUrl('rabbitmq.ts')}'
const { RELAY: name = 'program', DATABASE, BROKER } = process.env
export default defineConfig(() => {
  const pool = new Pool({ connectionString: DATABASE, application_name: name })
  return { name, store: postgres({ pool, schema: '${schema}' }), transport: rabbitmq({ url: BROKER! }), close: () => pool.end() }
})`
}

export async function openPlace(broker: string): Promise<Place> {
  await using stack = new AsyncDisposableStack()
  const database = stack.use(await testDatabase())
  const { schema } = database
  const project = stack.use(openProject(config(schema)))
  const { code, stderr } = await project.mersal(['migrate'], {
    DATABASE: serverUrl,
    BROKER: broker,
  })
  if (code !== 0) throw new Error(`mersal migrate ended with ${code}: ${stderr}`)
  await database.query(businessTables(schema))
  await using transport = rabbitmq({ url: broker })
  await transport.subscribe(schema, [schema])
  const moved = stack.move()
  return {
    database,
    broker,
    log: schema,
    project,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  }
}

export interface RelayProcess {
  readonly name: string
  readonly address: string
  readonly running: Running
}

export async function startRelay({ project, broker }: Place, name: string): Promise<RelayProcess> {
  const running = project.start(['relay', '--port', '0'], {
    DATABASE: serverUrl,
    BROKER: broker,
    RELAY: name,
  })
  const [, address] = await running.says(/(http:\/\/[\d.:]+)\/metrics/)
  return { name, address: String(address), running }
}

/** Rows in one of the tables of the run. */
export async function rows({ database }: Place, table: 'business' | 'outbox'): Promise<number> {
  const [row] = await database.query(`select count(*)::int as n from ${database.schema}.${table}`)
  return Number(row?.['n'])
}

/** Looks until the count is as wanted. The test's own timeout ends it. */
export async function until(
  place: Place,
  table: 'business' | 'outbox',
  wanted: (count: number) => boolean,
): Promise<void> {
  while (!wanted(await rows(place, table))) await sleep(50)
}

/** Follows how many rows wait in the outbox, until it is disposed of. */
interface Backlog extends AsyncDisposable {
  readonly rows: number
}

export function followBacklog(place: Place): Backlog {
  const over = new AbortController()
  let count = 0
  const following = (async () => {
    while (!over.signal.aborted) {
      count = await rows(place, 'outbox')
      await sleep(20)
    }
  })()
  return {
    get rows() {
      return count
    },
    async [Symbol.asyncDispose]() {
      over.abort()
      await following
    },
  }
}
