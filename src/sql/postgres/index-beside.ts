import { MersalError } from '../../core/errors/errors.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { quoteIdentifier } from '../identifiers.ts'
import { isConflict, sqlState } from './failure.ts'
import { lockClass, otherLocks } from './locks.ts'
import { type Own, type Query, UNLIMITED_MS } from './pool/pool.ts'
import { sharesConnections } from './pool/pooler.ts'

/** An index of a table that is there and in use: it is built while others write. */
export interface IndexBeside {
  readonly table: string
  readonly name: string
  /** One statement with `concurrently if not exists`. */
  readonly sql: string
}

export interface IndexPlace {
  /** Begins the texts of errors. */
  readonly name: string
  readonly schema: string
}

/** What is to be built, and how that is noted. */
export interface Wanted {
  readonly index: IndexBeside
  readonly record: () => Promise<void>
}

const POLL_MS = 250
/** Well below the time after which the server ends a transaction of ours that says nothing. */
const ALIVE_MS = 1000
const ANSWER_MS = 5000
/** A deadlock with a build that somebody has left behind ends one of the two. */
const MOST_ROUNDS = 5

/**
 * Builds what `work` answers under the lock of the builders of this schema, and records it.
 *
 * Who waits for whom:
 * - The build waits for every older snapshot, and for every older writer of the table.
 * - Another node that waited for the lock inside a statement would have such a snapshot: the build
 *   would wait for that node, and that node for the lock. No server sees this circle, since the
 *   holder of the lock waits in this program. So the other nodes ask for the lock again and again.
 * - The holder of the lock is an older transaction as well. At READ COMMITTED it has a snapshot only
 *   while a statement runs, and what runs during the build takes none: `aliveDuring`.
 * - The lock is nobody else's. A relay that needed it would stand still until the build has ended.
 * - The lock of migrations is not held. Nodes that wait for it inside a statement wait for steps,
 *   and steps do not wait for a build: they end before the first index that is built beside.
 * - A build that a dead program has left behind holds no lock of ours. Others wait for it between
 *   statements. Who meets it in a deadlock all the same begins anew.
 *
 * The lock belongs to a connection of its own, so that it also holds behind a pooler, and goes with
 * a process that dies or is frozen.
 */
export async function underBuildersLock(
  own: Own,
  place: IndexPlace,
  work: (query: Query) => Promise<Wanted | undefined>,
): Promise<void> {
  const keeps = own.direct || (await keepsSettings(own))
  for (;;) {
    const mine = await own.transaction('building an index', async (query) => {
      if (!(await tryLock(query, place.schema))) return false
      const wanted = await work(query)
      if (wanted === undefined) return true
      await aliveDuring(query, build(own, place, wanted.index, keeps))
      await wanted.record()
      return true
    })
    if (mine) return
    await systemClock.sleep(POLL_MS)
  }
}

async function keepsSettings(own: Own): Promise<boolean> {
  try {
    return !(await sharesConnections(own, ANSWER_MS))
  } catch {
    // Not known: the settings of the server are left alone.
    return false
  }
}

async function tryLock(query: Query, schema: string): Promise<boolean> {
  const { rows } = await query<{ mine: boolean }>(
    `select pg_catalog.pg_try_advisory_xact_lock(${lockClass(schema)}, ${otherLocks.indexes}) as mine`,
  )
  return rows[0]?.mine === true
}

/** `show` takes no snapshot, for which the build would wait. */
async function aliveDuring(query: Query, work: Promise<void>): Promise<void> {
  const over = new AbortController()
  const { signal } = over
  const saying = async (): Promise<void> => {
    while (!signal.aborted) {
      await query.script('show transaction_isolation')
      await systemClock.sleep(ALIVE_MS, signal)
    }
    await work
  }
  try {
    await Promise.all([work.finally(() => over.abort()), saying()])
  } finally {
    over.abort()
  }
}

/** Outside of a transaction. What a build that was cut off has left is dropped and built anew. */
async function build(
  own: Own,
  place: IndexPlace,
  index: IndexBeside,
  keeps: boolean,
): Promise<void> {
  for (let round = 1; ; round++) {
    try {
      await own.connection((query) => buildOn(query, place, index, keeps), { bare: true })
      return
    } catch (error) {
      if (!isConflict(error) || round >= MOST_ROUNDS) throw refused(place, index, error)
    }
  }
}

async function buildOn(
  query: Query,
  { schema }: IndexPlace,
  index: IndexBeside,
  keeps: boolean,
): Promise<void> {
  const run = (sql: string): Promise<unknown> => query.within(UNLIMITED_MS, sql)
  const name = `${quoteIdentifier(schema)}.${quoteIdentifier(index.name)}`
  if (keeps) await query.script('set statement_timeout = 0; set lock_timeout = 0')
  while (await isBuilding(query, schema, index)) await systemClock.sleep(POLL_MS)
  if ((await isValid(query, schema, index)) === false)
    await run(`drop index concurrently if exists ${name}`)
  await run(index.sql)
  if ((await isValid(query, schema, index)) !== true)
    throw new Error(`the index ${name} is not valid after it was built`)
  if (keeps) await query.script('reset statement_timeout; reset lock_timeout')
}

/** A process that died may have left one behind that goes on. */
async function isBuilding(query: Query, schema: string, { table }: IndexBeside): Promise<boolean> {
  const { rows } = await query<{ found: boolean }>(
    `select exists (select from pg_catalog.pg_stat_progress_create_index p
      join pg_catalog.pg_class c on c.oid = p.relid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where p.datname = pg_catalog.current_database() and n.nspname = $1::text and c.relname = $2::text) as found`,
    [schema, table],
  )
  return rows[0]?.found === true
}

/** Undefined: there is none. */
async function isValid(
  query: Query,
  schema: string,
  { name }: IndexBeside,
): Promise<boolean | undefined> {
  const { rows } = await query<{ valid: boolean }>(
    `select i.indisvalid as valid from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1::text and c.relname = $2::text`,
    [schema, name],
  )
  return rows[0]?.valid
}

/** 57014: a time limit of the server, or an administrator. 55P03: a lock, after such a limit. */
function refused({ name, schema }: IndexPlace, index: IndexBeside, cause: unknown): unknown {
  const state = sqlState(cause)
  if (state !== '57014' && state !== '55P03') return cause
  const text = `${name}: building the index '${index.name}' in schema '${schema}' was ended by a time limit of the server or by an administrator. Run this by hand without such limits, and start again: ${index.sql}`
  return new MersalError('MERSAL_STORE_BUSY', text, { cause, details: { schema } })
}
