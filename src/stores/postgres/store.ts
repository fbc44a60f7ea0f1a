import { randomUUID } from 'node:crypto'
import { MersalError } from '../../core/errors/errors.ts'
import type { CommitLog } from '../../core/commit-log.ts'
import type { Waker } from '../../core/outbox.ts'
import type { Store, UnitOfWork } from '../../core/store.ts'
import { wakeHints } from '../../lib/async/wake-hints.ts'
import { fulfilledWithin } from '../../lib/async/within.ts'
import { sharesConnections } from '../../sql/postgres/pool/pooler.ts'
import { quoteIdentifier } from '../../sql/identifiers.ts'
import type { Session } from '../../sql/session.ts'
import { unburied } from '../../sql/shared/claims.ts'
import { ringing } from '../../sql/shared/ringing.ts'
import { librarySavepoints } from '../../sql/units/library-savepoints.ts'
import { postgresAdmin } from './admin.ts'
import type { PostgresClient, PostgresPool } from '../../sql/postgres/client.ts'
import { clientSession, transactionState } from '../../sql/postgres/unit/client-session.ts'
import { listen } from '../../sql/postgres/listen.ts'
import { migrate } from '../../sql/postgres/migrate.ts'
import { postgresOperations } from './operations.ts'
import { type PostgresOptions, type PostgresSettings, postgresSettings } from './options.ts'
import { postgresOutbox } from './outbox.ts'
import { type BudgetedPool, budgetedPool } from '../../sql/postgres/pool/budgeted-pool.ts'
import { ownPool, replicationPool } from '../../sql/postgres/pool/own-pool.ts'
import { own as ownOn, type Own } from '../../sql/postgres/pool/pool.ts'
import { watchConnections } from '../../sql/postgres/pool/watch-connections.ts'
import { storeTables } from './schema.ts'
import { clientSavepoints } from '../../sql/postgres/unit/savepoints.ts'
import { catchUp } from '../../sql/postgres/sequence.ts'
import { createBell } from './last/bell.ts'
import { lastStatementsOf } from './last/last-statements.ts'
import { postgresCommitLog } from './log/commit-log.ts'
import { postgresOnce } from './once/once.ts'
import { statements } from './statements/statements.ts'
import { postgresSagas } from './saga/sagas.ts'
import { postgresTracker } from './tracker.ts'
import { capacityOf } from '../../sql/postgres/unit/unit-capacity.ts'
import { unitHandleOf } from '../../sql/postgres/unit/unit-handle.ts'
import { unitNotes } from '../../sql/postgres/unit/unit-notes.ts'
import { vacuum as vacuumOf } from './vacuum.ts'

/**
 * When the store closes, statements under way have this long; then their connections are destroyed.
 */
const LAST_STATEMENTS_MS = 500

/** A store on PostgreSQL 15 or newer, with what only this database can tell. */
export interface PostgresStore<Tx> extends Store<Tx> {
  /**
   * What became of a transaction whose commit was not answered; `transactionId` is in the details
   * of `MERSAL_COMMIT_UNKNOWN`. `in progress`: ask again. `forgotten`: too long ago for the server.
   */
  commitStatus(
    transactionId: string,
  ): Promise<'committed' | 'aborted' | 'in progress' | 'forgotten'>
}

/**
 * A store on PostgreSQL over a pool of `pg` 8.21 or newer. `tx` in a unit of work is the client of
 * `pg`, or what the given session says. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function postgres(options: PostgresOptions): PostgresStore<PostgresClient>
export function postgres<Tx>(
  options: PostgresOptions<Tx> & { readonly session: Session<Tx> },
): PostgresStore<Tx>
export function postgres(options: PostgresOptions<unknown>): PostgresStore<unknown> {
  const settings = postgresSettings(options)
  const { schema, clock, logger, keepSentMs } = settings
  /** `open` finds out. */
  const found = { direct: false, prepares: settings.prepare ?? false }
  const pools = poolsOf(options)
  const own = ownOn(pools.relay, schema, { keeps: () => found.direct })
  const sql = statements(schema)
  const prepares = { own: () => found.direct, behind: () => found.prepares }
  const bell = createBell({ own, clock, channel: channelOf(schema), prepares })
  const closing = new AbortController()
  const notes = unitNotes(wakeHints(clock, () => bell.notify(), closing.signal))
  const units = { notes, prepares: prepares.behind, bell: bell.behind }
  const session = options.session ?? clientSession(options.pool, { ...settings, ...units })
  const vacuum = vacuumOf({ own, schema, clock, logger, rows: settings.vacuumRows })
  const last = lastStatementsOf(schema, prepares.behind)
  const ports = { schema, sql, own, session, notes, last }
  const { mayHaveEnded, offers } = handlesOf(options)
  let closed: Promise<void> | undefined

  async function close(): Promise<void> {
    closing.abort()
    const quiet = Promise.all([bell[Symbol.asyncDispose](), vacuum[Symbol.asyncDispose]()])
    await fulfilledWithin(clock, LAST_STATEMENTS_MS, quiet)
    await pools.close()
  }

  return {
    name: 'postgres',
    unitOfWork: ringing(session.unitOfWork ?? noUnits(session), notes, () => bell.notify()),
    ...offers,
    outbox: postgresOutbox({
      ...ports,
      proves: options.session !== undefined,
      vacuum,
      keepSentMs,
      cannotBury: unburied(logger, clock, { schema }),
    }),
    tracker: postgresTracker({ ...ports, mayHaveEnded }),
    sagas: postgresSagas({ schema, migrate: settings.migrate, own, session }),
    once: postgresOnce({ schema, migrate: settings.migrate, own, session }),
    admin: postgresAdmin(own, sql, () => bell.notify()),
    operations: postgresOperations({ own, schema, keepSentMs, changed: () => bell.notify() }),
    commitLog: commitLogOf(options, settings, own),
    wakers: settings.listen ? [wakerOf(settings, pools, own, closing.signal)] : [],
    async open() {
      await migrate(own, storeTables(schema), settings.migrate)
      if (settings.migrate !== 'off') await checkPositions(own, settings)
      const may = options.relayPool === undefined && settings.prepare !== false
      found.direct = may && (await isDirect(own, settings.heartbeatMs))
      found.prepares = settings.prepare ?? found.direct
    },
    probe: () => probe(own, schema),
    commitStatus: (transactionId) => commitStatus(own, transactionId),
    [Symbol.asyncDispose]: () => (closed ??= close()),
  }
}

/** Where the connections of our own come from. */
interface Pools {
  readonly relay: PostgresPool
  /** The same pool, if stores share a budget of connections. */
  readonly budgeted: BudgetedPool | undefined
  /** Ends what was made here; the pools of the caller stay open. */
  close(): Promise<void>
}

function poolsOf(options: PostgresOptions<unknown>): Pools {
  const made = options.relayPool ?? ownPool(options.pool, { most: 4, instead: 'relayPool' })
  const budgeted =
    options.connections === undefined ? undefined : budgetedPool(made, options.connections)
  const relay = budgeted ?? made
  const forget = watchConnections([options.pool, relay])
  return {
    relay,
    budgeted,
    async close() {
      if (relay !== options.relayPool) await relay.end()
      forget()
    },
  }
}

/** What depends on whose handles the units and their callers have. */
interface Handles {
  readonly mayHaveEnded: (tx: unknown) => boolean
  readonly offers: Pick<Store<unknown>, 'sharing' | 'savepoints' | 'units'>
}

function handlesOf({ pool, session }: PostgresOptions<unknown>): Handles {
  if (session !== undefined)
    return { mayHaveEnded: () => true, offers: { savepoints: librarySavepoints } }
  return {
    mayHaveEnded: (tx) => unitHandleOf(tx)?.ended() === true,
    offers: {
      sharing: { state: transactionState, carry: () => (work) => work() },
      savepoints: clientSavepoints,
      units: capacityOf(pool),
    },
  }
}

function commitLogOf(
  { pool, relayPool = pool }: PostgresOptions<unknown>,
  settings: PostgresSettings,
  own: Own,
): CommitLog {
  return postgresCommitLog({ ...settings, own, replicationPool: () => replicationPool(relayPool) })
}

const channelOf = (schema: string): string => `${schema}_outbox`

/** Listens until the store closes, if the budget of connections allows that. */
function wakerOf(
  settings: PostgresSettings,
  { budgeted }: Pools,
  own: Own,
  closing: AbortSignal,
): Waker {
  const { schema } = settings
  const listener = listen({
    ...settings,
    own,
    line: budgeted === undefined ? own : ownOn(budgeted.listening, schema),
    channel: channelOf(schema),
    otherwise: 'the relay polls. Give relayPool a direct connection',
  })
  return async (wake, options) => {
    const signal = AbortSignal.any([options.signal, closing])
    if (budgeted === undefined) return await listener(() => wake(), { signal })
    if (!(await budgeted.mayListen(signal))) return
    try {
      await listener(() => wake(), { signal })
    } finally {
      budgeted.mayListenNoMore()
    }
  }
}

async function checkPositions(own: Own, { schema, logger }: PostgresSettings): Promise<void> {
  const done = await catchUp(own, { schema, table: 'outbox', column: 'position' })
  if (done === 'set')
    logger.warn(
      { schema },
      'the sequence of positions was behind the rows of the outbox; it was set to the highest one',
    )
}

/** A write with its commit, which shows a read-only server and a disk that takes nothing more. */
async function probe(own: Own, schema: string): Promise<void> {
  const record = ['mersal probe', randomUUID()]
  const inbox = `${quoteIdentifier(schema)}.inbox`
  await own.transaction('probing', async (query) => {
    await query(`insert into ${inbox} (consumer, message_id) values ($1::text, $2::text)`, record)
    await query(`delete from ${inbox} where consumer = $1::text and message_id = $2::text`, record)
  })
}

/** Whether no pooler is in between. A check that fails says no: the answer only saves time. */
async function isDirect(own: Own, answerMs: number): Promise<boolean> {
  if (own.direct) return true
  try {
    return !(await sharesConnections(own, answerMs))
  } catch {
    return false
  }
}

function noUnits(session: Session<unknown>): UnitOfWork<unknown> {
  return () =>
    Promise.reject(
      new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `session: '${session.name}' cannot open transactions; use within(tx) with those of the library`,
        {
          details: { field: 'session' },
        },
      ),
    )
}

async function commitStatus(
  own: Own,
  transactionId: string,
): Promise<'committed' | 'aborted' | 'in progress' | 'forgotten'> {
  if (!/^\d{1,20}$/.test(transactionId)) {
    throw new MersalError(
      'MERSAL_INVALID_OPTIONS',
      'transactionId: expected the digits of MERSAL_COMMIT_UNKNOWN',
      {
        details: { field: 'transactionId' },
      },
    )
  }
  const { rows } = await own.run<{ status: 'committed' | 'aborted' | 'in progress' | null }>(
    'asking what became of a transaction',
    'select pg_catalog.pg_xact_status($1::text::xid8) as status',
    [transactionId],
  )
  return rows[0]?.status ?? 'forgotten'
}
