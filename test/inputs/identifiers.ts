import { randomUUID } from 'node:crypto'
import type { Store } from '../../src/core/store.ts'
import {
  postgres,
  type PostgresClient,
  postgresMigrationSql,
  postgresQueue,
  postgresQueueMigrationSql,
} from '../../src/postgres.ts'
import type { Trial, Verdict } from './input.ts'
import { logger, poolWithCanary } from './places.ts'
import { refuses } from './soundness.ts'

const refused: Readonly<Record<string, unknown>> = {
  quotes: 'a"b',
  'quotes, doubled': 'a""b',
  backtick: 'a`b',
  apostrophe: "a'b",
  SQL: 'a"; drop schema public cascade; --',
  backslash: 'a\\b',
  NUL: 'a\0b',
  newline: 'a\nb',
  '49 characters': 'a'.repeat(49),
  '63 characters': 'a'.repeat(63),
  '64 characters': 'a'.repeat(64),
  '200 characters': 'a'.repeat(200),
  'many bytes at the cut': `${'a'.repeat(62)}ö`,
  'with a schema': 'public.outbox',
  parameter: '$1',
  'leading digit': '1a',
  empty: '',
  spaces: 'my schema',
  'unicode escape': 'U&"\\0061"',
  dash: 'a-b',
  'not ASCII': 'schéma',
  'an object with toString': { toString: () => 'mersal' },
  'a schema of the system': 'pg_mersal',
  pg_catalog: 'pg_catalog',
  'the schema of the standard': 'information_schema',
}

/** Names that look dangerous and are none: the tables are made in them, and a message comes back. */
const taken: Readonly<Record<string, string>> = {
  'a reserved word': 'select',
  'upper case': 'MersalInputs',
  '48 characters': `i${'x'.repeat(47)}`,
  underscores: '_____',
}

/** A name of its own for every run; case and length stay as they are. */
function unique(name: string): string {
  const mark = randomUUID().slice(0, 4)
  return name === 'select' ? name : `${mark.replace(/^\d/, 'a')}${name}`.slice(0, 48)
}

const onPostgres: NonNullable<Trial['on']> = ({ adapter }) => adapter === 'postgres'

async function roundTrip(schema: string): Promise<Verdict> {
  const pool = poolWithCanary(2)
  try {
    await using store = postgres({ pool, schema, logger }) as Store<PostgresClient>
    await using queue = postgresQueue({ pool, schema, logger })
    await store.open()
    await queue.subscribe('q', [])
    const to = { transport: 'default', kind: 'queue', name: 'q' } as const
    const message = { id: randomUUID(), type: 't', headers: {}, body: Buffer.from(schema), to }
    await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    const [row] = await store.outbox.claim({ limit: 1, claimMs: 1000, token: randomUUID() })
    if (row === undefined || !Buffer.from(row.message.body).equals(message.body))
      throw new Error('the message did not come back')
    const places = await pool.query(
      'select from pg_tables where schemaname = $1 and tablename = $2',
      [schema, 'outbox'],
    )
    if (places.rowCount !== 1) throw new Error('the table is not in the schema of this name')
    return 'round trip'
  } finally {
    await pool.query(`drop schema if exists "${schema}" cascade`)
    await pool.end()
  }
}

export const identifiers: readonly Trial[] = [
  ...Object.entries(refused).map(
    ([name, value]): Trial => ({
      name,
      on: onPostgres,
      async run() {
        const schema = value as string
        const pool = poolWithCanary(1)
        await refuses('MERSAL_INVALID_OPTIONS', () => postgres({ pool, schema }))
        await refuses('MERSAL_INVALID_OPTIONS', () => postgresQueue({ pool, schema }))
        await refuses('MERSAL_INVALID_OPTIONS', () => postgresMigrationSql({ schema }))
        await pool.end()
        return refuses('MERSAL_INVALID_OPTIONS', () => postgresQueueMigrationSql({ schema }))
      },
    }),
  ),
  ...Object.entries(taken).map(
    ([name, value]): Trial => ({ name, on: onPostgres, run: () => roundTrip(unique(value)) }),
  ),
]
