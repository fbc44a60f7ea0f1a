import { MersalError } from '../../core/errors/errors.ts'
import type { Store, UnitOfWork } from '../../core/store.ts'
import { wakeHints } from '../../lib/async/wake-hints.ts'
import type { MysqlConnection } from '../../sql/mysql/client.ts'
import { migrate } from '../../sql/mysql/migrate.ts'
import { onlyRow, type Own, ownOn } from '../../sql/mysql/own.ts'
import { addressOf, ownPool } from '../../sql/mysql/own-pool.ts'
import { readServer, unfitness, worries } from '../../sql/mysql/server.ts'
import { unburied } from '../../sql/shared/claims.ts'
import { ringing, type UnitRows } from '../../sql/shared/ringing.ts'
import { mysqlAdmin } from './admin.ts'
import { bellOf } from '../../sql/mysql/bell.ts'
import { KEY_SLOTS } from '../../sql/mysql/key-slots.ts'
import { mysqlOperations } from './operations.ts'
import { type MysqlOptions, type MysqlSettings, mysqlSettings } from './options.ts'
import { mysqlOutbox } from './outbox.ts'
import { type Place, placeIn } from './place.ts'
import { probe } from './examine/probe.ts'
import { storeTables } from './schema.ts'
import { mysqlOnce } from './once/once.ts'
import { mysqlSagas } from './sagas.ts'
import { mysqlTracker } from './tracker.ts'
import type { Session } from '../../sql/session.ts'
import { librarySavepoints } from '../../sql/units/library-savepoints.ts'
import type { Lane } from './save.ts'
import { libraryUnits, sessionLane } from './unit/library-units.ts'
import { connectionLane } from './unit/lane-of.ts'
import { connectionSavepoints } from './unit/savepoints.ts'
import { unitHandleOf } from './unit/unit-handle.ts'
import { capacityOf, unitOfWork } from './unit/unit-of-work.ts'

/** Connections of our own. */
const OWN_CONNECTIONS = 4

/**
 * A store on MariaDB 10.6 or MySQL 8.0.16, or newer, over a promise pool of `mysql2` 3. `tx` in a
 * unit of work is its connection. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function mysql(options: MysqlOptions): Store<MysqlConnection>
export function mysql<Tx>(options: MysqlOptions<Tx> & { readonly session: Session<Tx> }): Store<Tx>
export function mysql(options: MysqlOptions<unknown>): Store<unknown> {
  const settings = mysqlSettings(options)
  const { database, clock, logger } = settings
  const relayPool =
    options.relayPool ??
    ownPool(options.pool, { most: OWN_CONNECTIONS, where: 'mysql', instead: 'relayPool' })
  const own = ownOn(relayPool, database)
  const place = placeIn(database)
  const bell = bellOf(`${addressOf(options.pool)}/${database}`)
  const closing = new AbortController()
  const notes = unitNotes(wakeHints(clock, bell.ring, closing.signal))
  const handles = handlesOf(options, settings, place)
  const { laneOf } = handles
  const warnings: string[] = []
  let closed: Promise<void> | undefined

  async function close(): Promise<void> {
    closing.abort()
    if (relayPool !== options.relayPool) await relayPool.end()
  }

  return {
    name: 'mysql',
    warnings,
    unitOfWork: ringing(handles.unitOfWork, notes, bell.ring),
    ...handles.offers,
    outbox: mysqlOutbox({
      place,
      own,
      laneOf,
      saved: notes.saved,
      keepSentMs: settings.keepSentMs,
      cannotBury: unburied(logger, clock, { store: 'mysql' }),
    }),
    tracker: mysqlTracker({
      place,
      own,
      laneOf,
      mayHaveEnded: handles.mayHaveEnded,
    }),
    sagas: mysqlSagas({ place, migrate: settings.migrate, own, laneOf }),
    once: mysqlOnce({ place, migrate: settings.migrate, own, ...handles }),
    admin: mysqlAdmin(place, own, bell.ring),
    operations: mysqlOperations({ place, own, clock, changed: bell.ring }),
    wakers: [
      (wake, { signal }) => bell.waker(wake, { signal: AbortSignal.any([signal, closing.signal]) }),
    ],
    async open() {
      const facts = await readServer(own)
      const unfit = unfitness(facts)
      if (unfit !== undefined) throw unfit
      place.learn(facts)
      warnings.splice(0, warnings.length, ...worries(facts))
      await migrate(own, storeTables(database), settings.migrate)
      if (settings.migrate !== 'off') await checkLocks(place, own)
    },
    probe: () => probe(place, own),
    [Symbol.asyncDispose]: () => (closed ??= close()),
  }
}

/** What depends on whose handles the units and their callers have. */
interface Handles {
  readonly laneOf: (tx: unknown) => Lane
  readonly unitOfWork: UnitOfWork<unknown>
  readonly mayHaveEnded: (tx: unknown) => boolean
  /** Transactions may be above READ COMMITTED. */
  readonly locksGaps: boolean
  readonly offers: Pick<Store<unknown>, 'sharing' | 'savepoints' | 'units'>
}

function handlesOf(
  { pool, session }: MysqlOptions<unknown>,
  settings: MysqlSettings,
  place: Place,
): Handles {
  if (session !== undefined)
    return {
      laneOf: sessionLane(session, place),
      unitOfWork: libraryUnits(session, place),
      mayHaveEnded: () => true,
      locksGaps: true,
      offers: { savepoints: librarySavepoints },
    }
  const sameUnit = (): string => place.server.sameUnit
  const carry = (): (<Result>(work: () => Result) => Result) => (work) => work()
  return {
    mayHaveEnded: (tx) => unitHandleOf(tx)?.state === 'over',
    locksGaps: settings.isolation !== 'read committed',
    laneOf: connectionLane(settings.isolation === 'read committed') as Handles['laneOf'],
    unitOfWork: unitOfWork(pool, { ...settings, sameUnit }),
    offers: {
      sharing: { state: (tx) => unitHandleOf(tx)?.state ?? 'open', carry },
      savepoints: connectionSavepoints,
      units: capacityOf(pool),
    },
  }
}

/** Without its lock a key has no order, and no message. */
async function checkLocks({ tables, database }: Place, own: Own): Promise<void> {
  const answer = await own.run<{ count: string }>(
    'looking at the locks of keys',
    `select cast(count(*) as char) as count from ${tables.keyLock}`,
  )
  const count = Number(onlyRow(answer).count)
  if (count === KEY_SLOTS) return
  throw new MersalError(
    'MERSAL_STORE_UNSAFE',
    `mysql: mersal_key_lock in database '${database}' has ${count} rows, not ${KEY_SLOTS}: put back what is missing of 0 to ${KEY_SLOTS - 1}`,
    { details: { schema: database } },
  )
}

/** What is known of transactions in which messages were saved. */
interface UnitNotes<Tx> extends UnitRows<Tx> {
  /** Rows were written that no express lane takes, so that a relay has to look. */
  saved(this: void, tx: Tx): void
}

/** `unseen` is called for rows in transactions of somebody else, whose commit we shall not see. */
function unitNotes(unseen: () => void): UnitNotes<unknown> {
  const units = new WeakMap<object, { waiting: boolean }>()
  return {
    begin: (tx) => void units.set(tx as object, { waiting: false }),
    saved(tx) {
      const unit = units.get(tx as object)
      if (unit === undefined) unseen()
      else unit.waiting = true
    },
    end(tx) {
      if (tx === undefined) return false
      const waiting = units.get(tx as object)?.waiting === true
      units.delete(tx as object)
      return waiting
    },
  }
}
