import type {
  DestinationOverview,
  Finding,
  KeptFilter,
  KeyOverview,
  MessageState,
  OutboxOverview,
  Pause,
  PauseTarget,
  SchemaControl,
  StoreOperations,
} from '../../core/operations.ts'
import type { OutboxStats } from '../../core/store.ts'
import type { TrackerKey } from '../../core/tracker.ts'
import { refusedMessages, type RefusedRow } from './refused-rows.ts'
import { type Flag, isTrue, type Whole } from './rows.ts'

/**
 * An overview reads no more rows than this, and estimates how many there are: counting millions
 * would take a database longer than anybody waits, while it has other work. Half of them are the
 * oldest ones, whose ages matter most, and half the newest: so fresh traffic that stands still is
 * seen behind any number of older messages that are delayed.
 */
export const MOST_ROWS_READ = 100_000

/**
 * `columns` of the oldest and the newest rows of a table by their positions; and of one more, which
 * tells that there are others. `r` is a row.
 */
export function bothEnds(table: string, columns: string): string {
  const half = MOST_ROWS_READ / 2
  const behind = `select m.position from ${table} m order by m.position limit 1 offset ${half}`
  return `(
  select * from (select ${columns} from ${table} r order by r.position limit ${half + 1}) oldest
  union all
  select * from (select ${columns} from ${table} r where r.position > (${behind}) order by r.position desc limit ${half}) newest)`
}

/** Null: there is none. Ages are in milliseconds. */
export interface CountsRow {
  readonly pending: Whole | null
  readonly due: Whole | null
  readonly claimed: Whole | null
  readonly dead: Whole | null
  readonly oldest_due_ms: Whole | null
  readonly waiting_ms: Whole | null
  readonly oldest_ms: Whole | null
  readonly refused: Whole | null
}

/** Of a destination that has nothing but dead letters. */
export const NO_COUNTS: CountsRow = {
  pending: 0,
  due: 0,
  claimed: 0,
  dead: 0,
  oldest_due_ms: null,
  waiting_ms: null,
  oldest_ms: null,
  refused: 0,
}

export interface OverviewRows {
  readonly counts: CountsRow & {
    readonly kept: Whole | null
    readonly added: Whole | null
    /** Rows of the outbox that were read, at most one more than `MOST_ROWS_READ`. */
    readonly rows_read: Whole
    /** How many there are, if that is more; may be estimated. */
    readonly all_rows: Whole | null
  }
  readonly destinations: readonly (CountsRow & {
    readonly destination: string
    readonly last_error?: string | null
  })[]
  readonly keys: readonly {
    readonly key: string
    readonly pending: Whole
    readonly oldest_ms: Whole | null
    readonly blocked: Flag
  }[]
}

export interface PauseRow extends PauseTarget {
  readonly reason: string
  /** Milliseconds since the Unix epoch. */
  readonly since: Whole
}

/** What the tools of operators ask of one database. */
export interface OperatorPorts {
  readonly schema: SchemaControl
  readonly examine: () => Promise<readonly Finding[]>
  readonly consumers: (limit: number) => Promise<readonly { readonly name: string }[]>
  /** `keys`: most keys. */
  readonly overview: (keys: number) => Promise<OverviewRows>
  readonly pauses: () => Promise<readonly PauseRow[]>
  /** False: it was paused before, and only the reason has changed. */
  readonly pause: (target: PauseTarget, reason: string) => Promise<boolean>
  /** Returns how many pauses were removed. */
  readonly resume: (target: PauseTarget) => Promise<number>
  readonly countKept: (filter: KeptFilter) => Promise<Whole>
  /** Returns how many were moved. */
  readonly replay: (
    filter: KeptFilter,
    options: { readonly limit: number; readonly newIds: boolean },
  ) => Promise<number>
  readonly trace: (message: TrackerKey) => Promise<TraceRow>
  /** Open rows that were tried in vain, behind this position. */
  readonly refused: (after: bigint, limit: number) => Promise<readonly RefusedRow[]>
  /** Called after something was changed that relays wait for. */
  readonly changed: () => void
}

/** Where a message is, at one moment. */
export interface TraceRow {
  /** Null: not in the outbox. */
  readonly place: 'waiting' | 'sending' | 'dead' | null
  readonly dead: Flag
  readonly handled: Flag
}

/** What was handled may still be in the outbox, and a dead letter may keep its place there. */
function stateOf({ place, dead, handled }: TraceRow): MessageState {
  if (isTrue(handled)) return 'handled'
  return isTrue(dead) ? 'dead' : (place ?? 'left')
}

export function storeOperations(ports: OperatorPorts): StoreOperations {
  const { changed } = ports
  return {
    schema: ports.schema,
    examine: ports.examine,
    consumers: async ({ limit }) => (await ports.consumers(limit)).map(({ name }) => name),
    overview: async ({ keys }) => overviewOf(await ports.overview(keys)),
    trace: async (message) => stateOf(await ports.trace(message)),
    refused: refusedMessages(ports.refused),
    pauses: {
      list: async () => (await ports.pauses()).map(pauseOf),
      async pause({ kind, name }, reason) {
        const added = await ports.pause({ kind, name }, reason)
        changed()
        return added
      },
      async resume({ kind, name }) {
        const removed = await ports.resume({ kind, name })
        changed()
        return removed > 0
      },
    },
    kept: {
      count: async (filter) => Number(await ports.countKept(filter)),
      async replay(filter, options) {
        const moved = await ports.replay(filter, options)
        if (moved > 0) changed()
        return moved
      },
    },
  }
}

const number = (value: Whole | null): number => Math.max(0, Math.round(Number(value ?? 0)))

type Counts = Pick<
  OutboxOverview,
  'pending' | 'due' | 'claimed' | 'dead' | 'oldestDueMs' | 'oldestMs'
> & { readonly waitingMs: number; readonly refused: number }

function countsOf(row: CountsRow): Counts {
  return {
    pending: number(row.pending),
    due: number(row.due),
    claimed: number(row.claimed),
    dead: number(row.dead),
    oldestDueMs: number(row.oldest_due_ms),
    oldestMs: number(row.oldest_ms),
    waitingMs: number(row.waiting_ms),
    refused: number(row.refused),
  }
}

/** What was not read is taken for open. */
function estimated({ counts }: OverviewRows): Partial<OutboxOverview> {
  const read = number(counts.rows_read)
  if (read <= MOST_ROWS_READ) return {}
  const more = Math.max(0, number(counts.all_rows) - read)
  return { pending: number(counts.pending) + more, rowsRead: MOST_ROWS_READ }
}

function overviewOf(found: OverviewRows): OutboxOverview {
  const { counts, destinations, keys } = found
  return {
    ...countsOf(counts),
    ...estimated(found),
    kept: number(counts.kept),
    ...(counts.added === null ? {} : { added: number(counts.added) }),
    destinations: destinations.map((row): DestinationOverview => {
      const { destination, last_error: lastError = null } = row
      return { destination, ...countsOf(row), ...(lastError === null ? {} : { lastError }) }
    }),
    keys: keys.map((row): KeyOverview => {
      const blocked = isTrue(row.blocked)
      return {
        key: row.key,
        pending: number(row.pending),
        oldestMs: number(row.oldest_ms),
        blocked,
      }
    }),
  }
}

const pauseOf = ({ kind, name, reason, since }: PauseRow): Pause => ({
  kind,
  name,
  reason,
  since: number(since),
})

export type StatsRow = Pick<CountsRow, 'pending' | 'claimed' | 'dead' | 'oldest_due_ms'>

export function statsOf(row: StatsRow): OutboxStats {
  return {
    pending: number(row.pending),
    claimed: number(row.claimed),
    dead: number(row.dead),
    oldestDueMs: number(row.oldest_due_ms),
  }
}

/** A condition for each part of the filter; `?` stands for its value. */
export type KeptConditions = Readonly<Record<keyof KeptFilter, string>>

export interface KeptWhere {
  readonly text: string
  readonly values: readonly (string | number)[]
}

/**
 * The conditions that are given, and no others, so that a planner can use them. `place`: how the
 * dialect writes the parameter with this number, from 1 on.
 */
export function keptWhere(
  filter: KeptFilter,
  conditions: KeptConditions,
  place: (number: number) => string,
): KeptWhere {
  const names = (Object.keys(conditions) as (keyof KeptFilter)[]).filter(
    (name) => filter[name] !== undefined,
  )
  const parts = names.map((name, index) => conditions[name].replace('?', place(index + 1)))
  return {
    text: parts.length === 0 ? 'true' : parts.join(' and '),
    values: names.map((name) => filter[name] as string | number),
  }
}
