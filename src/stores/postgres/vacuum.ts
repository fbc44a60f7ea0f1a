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
/** The longest wait of the client for an answer; the server may go on. */
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

const inVainSql = (schema: string): string => `
select c.reltuples <= 0 and pg_catalog.pg_relation_size(c.oid) > 0 as in_vain
from pg_catalog.pg_class c where c.oid = '${quoteIdentifier(schema)}.outbox'::regclass`

export function vacuum(ports: VacuumPorts): Vacuum {
  return new OwnVacuum(ports)
}

class OwnVacuum implements Vacuum {
  readonly #ports: VacuumPorts
  readonly #closing = new AbortController()
  #dead = 0
  #sinceShrunk = 0
  /** Vacuums in a row that were to give pages back and could not. */
  #inVain = 0
  #notBefore = 0
  #failing = false
  #running: Promise<void> | undefined

  constructor(ports: VacuumPorts) {
    this.#ports = ports
  }

  deleted(count: number): void {
    this.#dead += count
    this.#sinceShrunk += count
    if (this.#dead >= this.#ports.rows) this.#start(false)
  }

  idle(): void {
    const { rows } = this.#ports
    const shrink = this.#sinceShrunk >= rows
    if (shrink || this.#dead >= Math.max(1, rows / IDLE_SHARE)) this.#start(shrink)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  #start(shrink: boolean): void {
    const { rows, clock } = this.#ports
    if (rows === 0 || this.#running !== undefined || this.#closing.signal.aborted) return
    if (clock.monotonic() < this.#notBefore) return
    this.#running = this.#run(shrink)
  }

  async #run(shrink: boolean): Promise<void> {
    const { clock } = this.#ports
    const started = clock.monotonic()
    const counted = this.#dead
    try {
      const done = await this.#vacuum(shrink)
      this.#dead -= counted
      if (shrink) this.#shrunk(done !== 'in vain')
      const least = (clock.monotonic() - started) * REST_FACTOR
      const longer = SHORTEST_REST_MS * 2 ** this.#inVain
      const restMs = Math.min(Math.max(least, longer), LONGEST_REST_MS)
      this.#rest(done === 'refused' ? FAILED_REST_MS : restMs)
      this.#failing = false
    } catch (cause) {
      if (!this.#closing.signal.aborted) this.#failed(cause)
    }
    this.#running = undefined
  }

  /** What could not be given back is tried again in an idle moment, and less and less often. */
  #shrunk(done: boolean): void {
    if (done) this.#sinceShrunk = 0
    this.#inVain = done ? 0 : this.#inVain + 1
  }

  /**
   * `refused`: we may not. `in vain`: the table is empty and has its pages all the same, since an
   * old snapshot sees its rows, or somebody reads it.
   */
  #vacuum(shrink: boolean): Promise<'done' | 'refused' | 'in vain'> {
    const { own, schema } = this.#ports
    return own.connection(
      async (query) => {
        const { rows } = await query<{ allowed: boolean }>(allowedSql(schema))
        if (rows[0]?.allowed !== true) return 'refused'
        await this.#untilClosed(query.within(ANSWER_MS, vacuumSql(schema, shrink)))
        if (!shrink) return 'done'
        const { rows: left } = await query<{ in_vain: boolean }>(inVainSql(schema))
        return left[0]?.in_vain === true ? 'in vain' : 'done'
      },
      { bare: true },
    )
  }

  /**
   * Closing does not wait for a long vacuum: the connection is dropped, and the server ends the
   * vacuum on its own.
   */
  async #untilClosed(work: Promise<unknown>): Promise<void> {
    const { signal } = this.#closing
    const closed = Promise.withResolvers<never>()
    const onAbort = (): void => closed.reject(new Error('the store is closing'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([work, closed.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
      work.catch(() => {})
    }
  }

  #rest(ms: number): void {
    this.#notBefore = this.#ports.clock.monotonic() + ms
  }

  #failed(cause: unknown): void {
    const { logger, schema } = this.#ports
    if (!this.#failing) {
      logger.warn(
        { schema, ...errorFields(cause) },
        'vacuuming the outbox failed; it is tried again, and the server does it besides',
      )
    }
    this.#failing = true
    this.#rest(FAILED_REST_MS)
  }
}
