import {
  type ClaimRequest,
  type OutboxStorage,
  savedRow,
  type SavedRow,
  type SaveOptions,
  type Settlement,
  type SettleResult,
} from '../../core/outbox.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { lanes } from '../../sql/lanes.ts'
import { buryDamaged, claimTerms, readClaimed, unburied } from '../../sql/shared/claims.ts'
import type { ClaimedRow } from '../../sql/shared/rows.ts'
import { checkStorable, wellFormed } from '../../sql/shared/storable.ts'
import { sqliteClock } from './clock.ts'
import type { Connection } from './connection/connection.ts'
import type { Handle, SqliteDatabase } from './connection/database.ts'
import { storeError } from './connection/failure.ts'
import { settle } from './settle.ts'
import { outboxSql } from './statements/statements.ts'
import {
  checkTransaction,
  leaveMark,
  openTransaction,
  requireMark,
  transactionNow,
} from './unit/transaction.ts'

const LARGEST_POSITION = 9_223_372_036_854_775_807n

/** The outbox table. `keepSentMs` 0: confirmed rows are deleted at once. */
export function sqliteOutbox(
  connection: Connection,
  keepSentMs: number,
): OutboxStorage<SqliteDatabase> {
  const { clock, logger } = connection.settings
  const lane = lanes()
  const insert = (
    handle: Handle,
    messages: readonly OutgoingMessage[],
    options: SaveOptions = {},
  ): SavedRow[] => {
    try {
      const saved = insertAll(handle, messages, options, clock.now())
      connection.announceAfterCommit(handle, 'outbox')
      return saved
    } catch (error) {
      throw storeError('saving messages', error)
    }
  }
  const settling =
    (keepSent: boolean) =>
    (settlements: readonly Settlement[]): Promise<SettleResult> =>
      connection.write((handle) => settle(handle, settlements, { now: clock.now(), keepSent }))
  const burial = {
    settle: settling(false),
    cannotBury: unburied(logger, clock, { store: 'sqlite' }),
  }

  return {
    save: async (tx, messages, options) =>
      insert(await openTransaction(connection, tx), messages, options),
    saveWithin: async (tx, messages) => {
      const made = 'then' in messages || connection.handle === undefined ? undefined : messages
      if (made !== undefined && !lane.busy(tx)) return insert(transactionNow(connection, tx), made)
      checkTransaction(tx)
      return lane.run(tx, {
        atOnce: undefined,
        leave: async (mark) => leaveMark(tx, mark),
        later: async (mark) => {
          const ready = await messages
          const handle = await openTransaction(connection, tx)
          requireMark(handle, mark)
          return insert(handle, ready)
        },
      })
    },
    async claim(request) {
      await connection.open()
      // A look outside any transaction spares the writers of all processes an idle relay's lock.
      const idle = connection.peek((handle) => nothingDue(handle, request, clock.now()))
      if (idle === true) return []
      const rows = await connection.write((handle) => claimRows(handle, request, clock.now()))
      const { messages, damaged } = readClaimed(rows, request.token)
      await buryDamaged(damaged, request, burial)
      return messages
    },
    settle: settling(keepSentMs > 0),
    renew: (claims, { claimMs }) =>
      connection.write((handle) => {
        const visibleAt = Math.ceil(clock.now() + claimMs)
        for (const { position, token } of claims)
          handle.run(outboxSql.renew, { position, token, visibleAt })
      }),
    prune: ({ limit, longerMs = 0 }) =>
      connection.write(
        (handle) =>
          handle.run(outboxSql.prune, { before: clock.now() - keepSentMs - longerMs, limit })
            .changes,
      ),
    clock: sqliteClock(connection),
  }
}

function insertAll(
  handle: Handle,
  messages: readonly OutgoingMessage[],
  options: SaveOptions,
  now: number,
): SavedRow[] {
  const { express } = options
  for (const message of messages) checkStorable(message, wellFormed)
  const mayClaim = express === undefined ? () => false : expressRule(handle)
  return messages.map((message) => {
    const free = now + (message.delayMs ?? 0)
    const claimed = mayClaim(message)
    const { position } = handle.run(outboxSql.insert, {
      visibleAt: Math.ceil(claimed && express !== undefined ? now + express.graceMs : free),
      token: claimed && express !== undefined ? express.token : null,
      id: message.id,
      type: message.type,
      transport: message.to.transport,
      kind: message.to.kind,
      name: message.to.name,
      partitionKey: message.partitionKey ?? null,
      now: Math.trunc(now),
      headers: JSON.stringify(message.headers),
      body: message.body,
    })
    return savedRow(position, claimed)
  })
}

/**
 * Which rows of one call may be born claimed: those whose key has no open row but such ones of this
 * call.
 */
function expressRule(handle: Handle): (message: OutgoingMessage) => boolean {
  const durable = (handle.get<{ synchronous: number }>('PRAGMA synchronous')?.synchronous ?? 0) >= 2
  const freeKeys = new Map<string, boolean>()
  return ({ partitionKey, delayMs }) => {
    const now = durable && (delayMs ?? 0) === 0
    if (partitionKey === undefined) return now
    const free =
      freeKeys.get(partitionKey) ??
      handle.get(outboxSql.openRowOfKey, { partitionKey }) === undefined
    freeKeys.set(partitionKey, free && now)
    return free && now
  }
}

/** The first position behind the stretch of the claim; says where it stopped. */
function endOf(handle: Handle, { fromPosition = 0n, stretch }: ClaimRequest): number | bigint {
  if (stretch === undefined) return LARGEST_POSITION
  const next = handle.get<{ position: number }>(outboxSql.behind, {
    from: fromPosition,
    rows: stretch.rows,
  })?.position
  if (next === undefined) return LARGEST_POSITION
  const last = handle.get<{ position: number }>(outboxSql.last)?.position ?? next
  stretch.stopped({ next: BigInt(next), last: BigInt(last) })
  return next
}

function nothingDue(handle: Handle, request: ClaimRequest, now: number): boolean {
  if (request.keys !== undefined) return false
  const part = { from: request.fromPosition ?? 0n, upTo: endOf(handle, request), now }
  return handle.get(outboxSql.anyDue, part) === undefined
}

function claimRows(handle: Handle, request: ClaimRequest, now: number): ClaimedRow[] {
  const terms = claimTerms(request)
  const { limit, maxBytes, token, from, keys } = terms
  const values = {
    from,
    upTo: endOf(handle, request),
    now: Math.trunc(now),
    until: Math.ceil(now + terms.claimMs),
    except: JSON.stringify(terms.exceptDestinations),
    exceptKeys: JSON.stringify(terms.exceptKeys),
    limit,
    maxBytes,
    largest: terms.largestBytes,
    token,
  }
  if (keys === undefined) return handle.all<ClaimedRow>(outboxSql.claim, values)
  const positions = firstRowsOf(handle, keys, limit)
  return handle.all<ClaimedRow>(outboxSql.claimThese, { ...values, positions })
}

/** The first rows of these keys, as JSON. */
function firstRowsOf(handle: Handle, keys: readonly string[], limit: number): string {
  const rows = keys.flatMap((key) =>
    handle.all<{ position: number }>(outboxSql.rowsOfKey, { key, limit }),
  )
  return JSON.stringify(rows.map(({ position }) => position))
}
