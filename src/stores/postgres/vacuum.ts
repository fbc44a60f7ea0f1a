import { errorFields } from '../../core/errors/error-text.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { quoteIdentifier } from '../../sql/identifiers.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'

/**
 * Vacuums the outbox by the number of rows that were deleted. The server itself looks for such
 * tables once a minute by default (`autovacuum_naptime`), in which a busy outbox grows by a million
 * dead rows that every claim has to walk over. See ADR 0120.
 */
export interface Vacuum extends AsyncDisposable {
  /** `rows` rows were deleted. Never throws, never waits. */
  deleted(rows: number): void
  /** A claim has found nothing: a good moment for what is left over. Never throws, never waits. */
  idle(): void
}

export interface VacuumPorts {
  readonly own: Own
  readonly schema: string
  readonly clock: Clock
  readonly logger: Logger
  /** How many deleted rows are worth a vacuum; 0 leaves everything to the server. */
  readonly rows: number
}

/** In an idle moment a hundredth of the rows is worth it. */
const IDLE_SHARE = 100
/**
 * After a vacuum nine times its duration goes by: it takes at most a tenth of the time, even when
 * an old snapshot keeps it from removing anything and each one has more to walk over.
 */
const REST_FACTOR = 9
const SHORTEST_REST_MS = 1000
const LONGEST_REST_MS = 600_000
/** After a vacuum that failed, or that we may not do. */
const FAILED_REST_MS = 60_000
/** The client waits so long; the server may go on. */
const ANSWER_MS = 3_600_000

/**
 * Giving pages back to the file system needs the table for itself for a moment, so this is only
 * done when nothing is due. Who comes second skips it: several relays count, each for itself.
 */
const vacuumSql = (schema: string, shrink: boolean): string =>
  `vacuum (skip_locked, parallel 0, truncate ${shrink ? 'on' : 'off'}) ${quoteIdentifier(schema)}.outbox`

const allowedSql = (schema: string): string => `
select pg_catalog.pg_has_role(c.relowner, 'usage') or case
  when pg_catalog.current_setting('server_version_num')::integer >= 170000 then pg_catalog.has_table_privilege(c.oid, 'maintain')
  else false end as allowed
from pg_catalog.pg_class c where c.oid = '${quoteIdentifier(schema)}.outbox'::regclass`

export function vacuum({ own, schema, clock, logger, rows }: VacuumPorts): Vacuum {
  const closing = new AbortController()
  let dead = 0
  let sinceShrunk = 0
  let notBefore = 0
  let failing = false
  let running: Promise<void> | undefined

  function look(least: number, idle: boolean): void {
    if (
      rows === 0 ||
      dead < least ||
      running !== undefined ||
      closing.signal.aborted ||
      clock.monotonic() < notBefore
    )
      return
    running = run(idle && sinceShrunk >= rows)
  }

  /**
   * Whoever closes does not wait for a long vacuum: its connection is dropped, and the server ends
   * it by itself.
   */
  async function run(shrink: boolean): Promise<void> {
    const started = clock.monotonic()
    const counted = dead
    try {
      const done = await own.connection(
        async (query) => {
          const { rows: found } = await query<{ allowed: boolean }>(allowedSql(schema))
          if (found[0]?.allowed !== true) return false
          await untilClosed(query.within(ANSWER_MS, vacuumSql(schema, shrink)))
          return true
        },
        { bare: true },
      )
      dead -= counted
      if (shrink) sinceShrunk = 0
      const took = clock.monotonic() - started
      rest(
        done
          ? Math.min(Math.max(took * REST_FACTOR, SHORTEST_REST_MS), LONGEST_REST_MS)
          : FAILED_REST_MS,
      )
      failing = false
    } catch (cause) {
      if (!closing.signal.aborted) failed(cause)
    }
    running = undefined
  }

  async function untilClosed(work: Promise<unknown>): Promise<void> {
    const closed = Promise.withResolvers<never>()
    const onAbort = (): void => closed.reject(new Error('the store is closing'))
    closing.signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([work, closed.promise])
    } finally {
      closing.signal.removeEventListener('abort', onAbort)
      work.catch(() => {})
    }
  }

  function rest(ms: number): void {
    notBefore = clock.monotonic() + ms
  }

  function failed(cause: unknown): void {
    if (!failing) {
      logger.warn(
        { schema, ...errorFields(cause) },
        'vacuuming the outbox failed; it is tried again, and the server does it besides',
      )
    }
    failing = true
    rest(FAILED_REST_MS)
  }

  return {
    deleted(count) {
      dead += count
      sinceShrunk += count
      look(rows, false)
    },
    idle() {
      look(Math.max(1, rows / IDLE_SHARE), true)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await running
    },
  }
}
