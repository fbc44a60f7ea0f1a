import { historyWith } from '../../core/errors/attempts.ts'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { destinationKey } from '../../core/messages/message.ts'
import type {
  ClaimedMessage,
  ClaimRequest,
  OutboxStorage,
  Settlement,
  SettleResult,
} from '../../core/outbox.ts'
import type { DatabaseState } from './database.ts'
import { type Death, makeDeadRow } from './dead-letters.ts'
import type { OutboxRow } from './outbox-table.ts'
import { cancel } from './cancel.ts'
import { sizeOf, withoutContent } from './row-size.ts'
import { copyOf, save } from './save.ts'
import type { MemoryTransaction } from './unit/transaction.ts'

export function memoryOutbox(
  database: DatabaseState,
  keepSentMs: number,
): OutboxStorage<MemoryTransaction> {
  return {
    save: (tx, messages, options) => save(database, tx, messages, options),
    claim: async (request) => {
      await database.pause('claim')
      return claim(database, request)
    },
    settle: async (settlements) => {
      await database.pause('settle')
      return settle(database, settlements, keepSentMs)
    },
    renew: async (claims, { claimMs }) => {
      await database.pause('settle')
      const until = database.clock.now() + claimMs
      for (const { position, token } of claims) {
        const row = database.outbox.rows.get(Number(position))
        if (row?.token === token) row.visibleAt = until
      }
    },
    prune: async ({ limit }) => {
      await database.pause('prune')
      return prune(database, limit, keepSentMs)
    },
    waiting: {
      async upcoming({ limit }) {
        const now = database.clock.now()
        return database.outbox
          .delayedAfter(now, limit)
          .map(({ position, dueAt = now }) => ({ position: BigInt(position), inMs: dueAt - now }))
      },
      cancel: (tx, id) => cancel(database, tx, id),
    },
  }
}

function lookedAt(
  { outbox }: DatabaseState,
  { keys, positions, fromPosition = 0n }: ClaimRequest,
): Iterable<OutboxRow> {
  if (positions !== undefined) return outbox.at(positions)
  return keys === undefined ? outbox.rows.from(Number(fromPosition)) : outbox.ofKeys(keys)
}

/**
 * One scan in the order of positions. A keyed row is taken only if the row before it in its key has
 * been taken by this very claim, so what is taken of a key is an unbroken run from its first open
 * row.
 */
function claim(database: DatabaseState, request: ClaimRequest): readonly ClaimedMessage[] {
  const now = database.clock.now()
  const except = new Set(request.exceptDestinations)
  const exceptKeys = new Set(request.exceptKeys)
  const taken = new Set<OutboxRow>()
  const { maxBytes = CLAIM_BYTES, largestBytes = LARGEST_ROW_BYTES } = request
  let bytes = 0
  let left = request.stretch?.rows ?? Number.POSITIVE_INFINITY
  if (request.limit <= 0) return []
  for (const row of lookedAt(database, request)) {
    if (left-- <= 0) {
      request.stretch?.stopped({
        next: BigInt(row.position),
        last: BigInt(database.outbox.rows.last() ?? row.position),
      })
      break
    }
    if (row.visibleAt > now || row.leaving) continue
    if (except.size > 0 && except.has(destinationKey(row.message.to))) continue
    if (row.message.partitionKey !== undefined && exceptKeys.has(row.message.partitionKey)) continue
    if (row.previous !== undefined && !taken.has(row.previous)) continue
    taken.add(row)
    const size = sizeOf(row.message)
    if (size <= largestBytes) bytes += size
    if (taken.size >= request.limit || bytes >= maxBytes) break
  }
  return [...taken].map((row) => take(row, request, now, largestBytes))
}

function take(
  row: OutboxRow,
  request: ClaimRequest,
  now: number,
  largestBytes: number,
): ClaimedMessage {
  row.visibleAt = now + request.claimMs
  row.token = request.token
  row.taken = true
  row.attempts = Math.min(row.attempts, 1_000_000) + 1
  const claimed = { position: BigInt(row.position), attempt: row.attempts, token: request.token }
  const size = sizeOf(row.message)
  if (size <= largestBytes) return { ...claimed, message: copyOf(row.message) }
  return { ...claimed, message: copyOf(withoutContent(row.message)), withheldBytes: size }
}

function settle(
  database: DatabaseState,
  settlements: readonly Settlement[],
  keepSentMs: number,
): SettleResult {
  const now = database.clock.now()
  let stale = 0
  for (const settlement of settlements) {
    const row = database.outbox.rows.get(Number(settlement.position))
    if (row === undefined || row.token !== settlement.token) stale++
    else settleOne(database, row, settlement, { now, keepSentMs })
  }
  return { stale }
}

function settleOne(
  database: DatabaseState,
  row: OutboxRow,
  settlement: Settlement,
  { now, keepSentMs }: { readonly now: number; readonly keepSentMs: number },
): void {
  row.token = undefined
  switch (settlement.kind) {
    case 'sent':
      database.outbox.remove(row)
      if (keepSentMs > 0 && settlement.keep !== false)
        database.outbox.kept.push({
          position: row.position,
          message: row.message,
          addedAt: row.addedAt,
          sentAt: now,
        })
      return
    case 'retry':
      note(row, settlement.error, now)
      row.visibleAt = now + Math.max(settlement.delayMs, 0)
      return
    case 'release':
      row.visibleAt = now + Math.max(settlement.delayMs ?? 0, 0)
      row.attempts = Math.max(row.attempts - 1, 0)
      return
    case 'dead':
      bury(database, row, settlement, now)
  }
}

function note(row: OutboxRow, error: Error, at: number): void {
  row.history = historyWith(row.history, { attempt: row.attempts, at, error })
}

function bury(database: DatabaseState, row: OutboxRow, death: Death, now: number): void {
  note(row, death.error, now)
  const number = ++database.deaths
  const dead = makeDeadRow(number, row, death, now)
  database.dead.set(number, dead)
  if (dead.row === undefined) {
    database.outbox.remove(row)
    return
  }
  row.dead = number
  row.visibleAt = Number.POSITIVE_INFINITY
}

function prune(database: DatabaseState, limit: number, keepSentMs: number): number {
  const { kept } = database.outbox
  const before = database.clock.now() - keepSentMs
  let count = 0
  while (count < limit && count < kept.length && (kept[count]?.sentAt ?? 0) <= before) count++
  kept.splice(0, count)
  return count
}
