import { destinationKey } from '../../core/messages/message.ts'
import type {
  KeptFilter,
  KeptMessages,
  KeyOverview,
  OutboxOverview,
  Pause,
  PauseBoard,
  StoreOperations,
} from '../../core/operations.ts'
import { describedRow, refusedMessages, type RefusedRow } from '../../sql/shared/refused-rows.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { type DatabaseState, wakeAll } from './database.ts'
import { holdingKeys } from './unit/holding-keys.ts'
import type { KeptRow, OutboxRow } from './outbox-table.ts'

/** What tools of operators ask. There are no tables to be looked at. */
export function memoryOperations(database: DatabaseState): StoreOperations {
  return {
    pauses: pauseBoard(database),
    kept: keptMessages(database),
    overview: async ({ keys }) => {
      await database.pause('read')
      return overview(database, keys)
    },
    consumers: async ({ limit }) => {
      await database.pause('read')
      const names = [...database.tracked.keys()].map(
        (record) => (JSON.parse(record) as [string])[0],
      )
      return [...new Set(names)].sort().slice(0, limit)
    },
    trace: async ({ messageId, consumer }) => {
      await database.pause('read')
      if (database.tracked.has(JSON.stringify([consumer, messageId]))) return 'handled'
      for (const { letter } of database.dead.values()) if (letter.id === messageId) return 'dead'
      for (const row of database.outbox.rows.from(0)) {
        if (row.message.id !== messageId) continue
        const held = row.token !== undefined && row.visibleAt > database.clock.now()
        return held ? 'sending' : 'waiting'
      }
      return 'left'
    },
    refused: refusedMessages(async (after, limit) => {
      await database.pause('read')
      return refusedRows(database, Number(after)).slice(0, limit)
    }),
  }
}

function refusedRows({ outbox }: DatabaseState, after: number): readonly RefusedRow[] {
  return [...outbox.rows.from(after + 1)].filter(isRefused).map((row) => ({
    position: row.position,
    ...describedRow(row.message),
    attempts: row.attempts,
    due_at: row.visibleAt,
    history: row.history ?? null,
  }))
}

const isRefused = ({ dead, history, attempts, token }: OutboxRow): boolean =>
  dead === undefined && attempts > 0 && (history !== undefined || token === undefined)

function pauseBoard({ pauses, clock, listeners }: DatabaseState): PauseBoard {
  const nameOf = ({ kind, name }: Pick<Pause, 'kind' | 'name'>): string => `${kind} ${name}`
  const changed = (): void => listeners.forEach((wake) => wake())
  return {
    list: async () =>
      [...pauses.values()].sort((left, right) => (nameOf(left) < nameOf(right) ? -1 : 1)),
    async pause({ kind, name }, reason) {
      const before = pauses.get(nameOf({ kind, name }))
      const since = before?.since ?? Math.round(clock.now())
      pauses.set(nameOf({ kind, name }), { kind, name, reason, since })
      changed()
      return before === undefined
    },
    async resume(target) {
      const removed = pauses.delete(nameOf(target))
      changed()
      return removed
    },
  }
}

function overview(database: DatabaseState, most: number): OutboxOverview {
  const rows = [...database.outbox.rows.from(0)]
  const letters = [...database.dead.values()].map(({ letter }) => letter)
  const ofPlace = Map.groupBy(rows, ({ message }) => destinationKey(message.to))
  const places = [...new Set([...ofPlace.keys(), ...letters.map(({ place }) => place)])].sort()
  const keys = Map.groupBy(rows, ({ message }) => message.partitionKey)
  keys.delete(undefined)
  return {
    ...counts(database, rows, letters.length),
    kept: database.outbox.kept.length,
    added: database.outbox.added,
    destinations: places.map((destination) => {
      const dead = letters.filter(({ place }) => place === destination).length
      return { destination, ...counts(database, ofPlace.get(destination) ?? [], dead) }
    }),
    keys: [...keys]
      .map(([key, some]) => keyOverview(database, key as string, some))
      .sort(byNeed)
      .slice(0, most),
  }
}

const byNeed = (left: KeyOverview, right: KeyOverview): number =>
  Number(right.blocked) - Number(left.blocked) || right.oldestMs - left.oldestMs

type Counts = Omit<OutboxOverview, 'kept' | 'destinations' | 'keys'>

function counts(database: DatabaseState, rows: readonly OutboxRow[], dead: number): Counts {
  const now = database.clock.now()
  const open = rows.filter((row) => row.dead === undefined)
  const due = open.filter((row) => row.visibleAt <= now)
  const age = (times: readonly number[]): number => Math.max(0, now - Math.min(now, ...times))
  const dueSince = (some: readonly OutboxRow[]): number =>
    age(some.map(({ visibleAt }) => visibleAt))
  return {
    pending: open.length,
    due: due.length,
    claimed: open.filter((row) => row.token !== undefined && row.visibleAt > now).length,
    dead,
    oldestDueMs: dueSince(due),
    oldestMs: age(open.map(({ addedAt }) => addedAt)),
    waitingMs: dueSince(due.filter((row) => isFree(database, row))),
    refused: open.filter((row) => row.attempts > 0 && row.token === undefined).length,
  }
}

/** A relay could take it: it is neither paused nor behind another one of its key. */
function isFree({ pauses }: DatabaseState, { message, previous }: OutboxRow): boolean {
  return (
    previous === undefined &&
    !pauses.has(`destination ${destinationKey(message.to)}`) &&
    !pauses.has(`key ${message.partitionKey ?? ''}`)
  )
}

function keyOverview(
  { clock }: DatabaseState,
  key: string,
  rows: readonly OutboxRow[],
): KeyOverview {
  const open = rows.filter((row) => row.dead === undefined)
  const now = clock.now()
  return {
    key,
    pending: open.length,
    oldestMs: Math.max(0, now - Math.min(now, ...open.map(({ addedAt }) => addedAt))),
    blocked: open.length < rows.length,
  }
}

function passes({ message, sentAt }: KeptRow, filter: KeptFilter): boolean {
  const { since = -Infinity, until = Infinity, type, partitionKey, destination, id } = filter
  return (
    sentAt >= since &&
    sentAt < until &&
    (type === undefined || message.type === type) &&
    (partitionKey === undefined || message.partitionKey === partitionKey) &&
    (destination === undefined || destinationKey(message.to) === destination) &&
    (id === undefined || message.id === id)
  )
}

function keptMessages(database: DatabaseState): KeptMessages {
  const { outbox } = database
  const found = (filter: KeptFilter): KeptRow[] =>
    outbox.kept
      .filter((row) => passes(row, filter))
      .sort((left, right) => left.position - right.position)
  return {
    async count(filter) {
      await database.pause('read')
      return found(filter).length
    },
    async replay(filter, { limit, newIds }) {
      await database.pause('retry')
      const keys = found(filter).map(({ message }) => message.partitionKey)
      const moved = await holdingKeys(database, keys, () => {
        const rows = found(filter).slice(0, limit)
        for (const row of rows) putBack(database, row, newIds)
        return rows.length
      })
      if (moved > 0) wakeAll(database)
      return moved
    },
  }
}

function putBack({ outbox, clock }: DatabaseState, row: KeptRow, newId: boolean): void {
  const now = clock.now()
  const message = newId ? { ...row.message, id: uuidv7(now) } : row.message
  outbox.kept.splice(outbox.kept.indexOf(row), 1)
  outbox.add({ message, visibleAt: now, addedAt: row.addedAt })
}
