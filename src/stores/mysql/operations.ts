import type {
  DestinationOverview,
  KeptMessages,
  OutboxOverview,
  PauseBoard,
  StoreOperations,
} from '../../core/operations.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { bytesOf, textOf } from '../../sql/mysql/bytes.ts'
import { errorNumber } from '../../sql/mysql/failure.ts'
import { schemaControl } from '../../sql/mysql/migrate.ts'
import { onlyRow, type Own, type Query } from '../../sql/mysql/own.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { listsOf } from './claim.ts'
import { examine } from './examine/examine.ts'
import { slotsOf } from '../../sql/mysql/key-slots.ts'
import type { Place } from './place.ts'
import { storeTables } from './schema.ts'
import { type OperatorStatements, operatorStatements } from './statements/operator-statements.ts'

export interface OperationsPorts {
  readonly place: Place
  readonly own: Own
  readonly clock: Clock
  /** Called after something was changed that relays wait for. */
  readonly changed: () => void
}

export function mysqlOperations(ports: OperationsPorts): StoreOperations {
  const { own, place } = ports
  const sql = operatorStatements(place.tables)
  return {
    schema: schemaControl(own, storeTables(place.database)),
    pauses: pauseBoard(ports, sql),
    kept: keptMessages(ports, sql),
    examine: () => examine(place, own),
    async consumers({ limit }) {
      const doing = 'reading the consumers of the inbox'
      const { rows } = await own.run<{ consumer: unknown }>(doing, sql.consumers, [limit])
      return rows.map(({ consumer }) => textOf(consumer))
    },
    overview: ({ keys }) =>
      own.transaction('counting messages', (query) => overview(query, sql, place.database, keys)),
  }
}

type Row = Readonly<Record<string, unknown>>

const number = (row: Row | undefined, name: string): number =>
  Math.max(0, Math.round(Number(row?.[name] ?? 0)))

type Common = Omit<DestinationOverview, 'destination' | 'dead'>

function common(row: Row): Common {
  const lastError = row['last_error']
  return {
    pending: number(row, 'pending'),
    due: number(row, 'due'),
    claimed: number(row, 'claimed'),
    oldestDueMs: number(row, 'oldest_due_ms'),
    oldestMs: number(row, 'oldest_ms'),
    waitingMs: number(row, 'waiting_ms'),
    refused: number(row, 'refused'),
    ...(lastError === null || lastError === undefined ? {} : { lastError: textOf(lastError) }),
  }
}

const NOTHING: Common = {
  pending: 0,
  due: 0,
  claimed: 0,
  oldestDueMs: 0,
  oldestMs: 0,
  waitingMs: 0,
  refused: 0,
}

async function overview(
  query: Query,
  sql: OperatorStatements,
  database: string,
  most: number,
): Promise<OutboxOverview> {
  const counts = onlyRow(await query(sql.counts, [bytesOf(database)]))
  const open = (await query(sql.destinations)).rows
  const dead = (await query(sql.deadPlaces)).rows
  const places = new Map<string, Common>(
    open.map((row) => [textOf(row['destination']), common(row)]),
  )
  const deadOf = new Map(dead.map((row) => [textOf(row['destination']), number(row, 'dead')]))
  const keys = most === 0 ? [] : (await query(sql.keys, [most])).rows
  const { lastError: _last, ...total } = common(counts)
  return {
    ...total,
    dead: number(counts, 'dead'),
    kept: number(counts, 'kept'),
    added: number(counts, 'added'),
    destinations: [...new Set([...places.keys(), ...deadOf.keys()])].toSorted().map((place) => ({
      ...(places.get(place) ?? NOTHING),
      destination: place,
      dead: deadOf.get(place) ?? 0,
    })),
    keys: keys.map((row) => ({
      key: textOf(row['partition_key']),
      pending: number(row, 'pending'),
      oldestMs: number(row, 'oldest_ms'),
      blocked: Number(row['blocked']) === 1,
    })),
  }
}

/** A row of this kind and name is there. */
const DUPLICATE = 1062

function pauseBoard({ own, place, changed }: OperationsPorts, sql: OperatorStatements): PauseBoard {
  return {
    async list() {
      const { rows } = await own.run<Row>('reading pauses', sql.pauses)
      return rows.map((row) => ({
        kind: textOf(row['kind']) as 'destination' | 'key',
        name: textOf(row['name']),
        reason: textOf(row['reason']),
        since: Math.round(Number(row['since'])),
      }))
    },
    async pause({ kind, name }, reason) {
      let added = true
      try {
        await own.run('pausing', sql.pause, [kind, bytesOf(name), bytesOf(reason)])
      } catch (error) {
        if (errorNumber(error) !== DUPLICATE) throw error
        added = false
        const text = `update ${place.tables.pause} set reason = ? where kind = ? and name = ?`
        await own.run('pausing', text, [bytesOf(reason), kind, bytesOf(name)])
      }
      changed()
      return added
    },
    async resume({ kind, name }) {
      const gone = await own.run('resuming', sql.resume, [kind, bytesOf(name)])
      changed()
      return gone.changed === 1
    },
  }
}

function keptMessages(
  { own, place, clock, changed }: OperationsPorts,
  sql: OperatorStatements,
): KeptMessages {
  return {
    async count(filter) {
      const { text, values } = sql.countKept(filter)
      const answer = await own.run<{ count: string }>('counting kept messages', text, values)
      return Number(onlyRow(answer).count)
    },
    async replay(filter, { limit, newIds }) {
      const { text, values } = sql.pickKept(filter, limit)
      const moved = await own.transaction('replaying kept messages', async (query) => {
        const { rows } = await query<{ number: string; partition_key: unknown }>(text, values)
        // The keys before the positions, as for every other writer.
        const keys = rows.flatMap((row) =>
          row.partition_key === null ? [] : textOf(row.partition_key),
        )
        for (const slots of listsOf(slotsOf(keys))) await query(place.sql.lock(slots.length), slots)
        for (const row of rows) {
          await query(sql.putBack, [newIds ? uuidv7(clock.now()) : null, BigInt(row.number)])
          await query(sql.removeKept, [BigInt(row.number)])
        }
        return rows.length
      })
      if (moved > 0) changed()
      return moved
    },
  }
}
