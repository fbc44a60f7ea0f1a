import type { OutgoingMessage } from '../../core/messages/message.ts'
import { savedRow, type SavedRow, type SaveOptions } from '../../core/outbox.ts'
import type { DatabaseState } from './database.ts'
import {
  assertOpen,
  lock,
  openTransaction,
  type PendingRow,
  type TransactionState,
} from './unit/transaction.ts'

export function lockOfKey(key: string): string {
  return `key ${key}`
}

/**
 * Locks the keys in sorted order, then draws the positions: so the order of positions is the order
 * of commits.
 */
export async function save(
  database: DatabaseState,
  tx: unknown,
  messages: readonly OutgoingMessage[],
  options: SaveOptions = {},
): Promise<readonly SavedRow[]> {
  const state = openTransaction(database, tx)
  // What the caller changes from now on is not what it sent.
  const copies = messages.map(copyOf)
  const delays = messages.map(({ delayMs }) => Math.max(delayMs ?? 0, 0))
  await database.pause('save')
  assertOpen(state)
  await lockKeys(state, copies)
  const now = database.clock.now()
  return copies.map((message, index) => {
    const row = pendingRow(state, message, delays[index] ?? 0, options.express, now)
    state.rows.push(row)
    return savedRow(BigInt(row.position), row.express !== undefined)
  })
}

async function lockKeys(
  state: TransactionState,
  messages: readonly OutgoingMessage[],
): Promise<void> {
  const keys = new Set(
    messages.map(({ partitionKey }) => partitionKey).filter((key) => key !== undefined),
  )
  for (const key of [...keys].sort()) await lock(state, lockOfKey(key))
  assertOpen(state)
}

function pendingRow(
  state: TransactionState,
  message: OutgoingMessage,
  delayMs: number,
  express: SaveOptions['express'],
  now: number,
): PendingRow {
  const token =
    express !== undefined && mayBeExpress(state, message, delayMs, express.token)
      ? express.token
      : undefined
  if (message.partitionKey !== undefined) state.keyTokens.set(message.partitionKey, token)
  return {
    position: state.database.outbox.nextPosition(),
    message,
    dueAt: delayMs > 0 ? now + delayMs : undefined,
    express:
      token === undefined || express === undefined
        ? undefined
        : { token, until: now + express.graceMs },
  }
}

/**
 * Asked under the lock of the key: no earlier open row of it, neither a committed one nor a free
 * one of this transaction.
 */
function mayBeExpress(
  state: TransactionState,
  message: OutgoingMessage,
  delayMs: number,
  token: string,
): boolean {
  const key = message.partitionKey
  if (delayMs > 0) return false
  if (key === undefined) return true
  if (state.database.outbox.hasOpenRow(key)) return false
  return !state.keyTokens.has(key) || state.keyTokens.get(key) === token
}

/** A copy of its own, without the delay: that is served by the storage. */
export function copyOf(message: OutgoingMessage): OutgoingMessage {
  const { id, type, headers, body, to, partitionKey } = message
  const copy = {
    id,
    type,
    headers: { ...headers },
    body: Uint8Array.prototype.slice.call(body),
    to: { ...to },
  }
  return partitionKey === undefined ? copy : { ...copy, partitionKey }
}
