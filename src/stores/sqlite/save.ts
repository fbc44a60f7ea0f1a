import type { OutgoingMessage } from '../../core/messages/message.ts'
import { type OutboxStorage, savedRow, type SavedRow, type SaveOptions } from '../../core/outbox.ts'
import { lanes } from '../../sql/lanes.ts'
import { checkStorable, wellFormed } from '../../sql/shared/storable.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle, SqliteDatabase } from '../../sql/sqlite/connection/database.ts'
import { storeError } from '../../sql/sqlite/connection/failure.ts'
import {
  checkTransaction,
  leaveMark,
  openTransaction,
  requireMark,
  transactionNow,
} from '../../sql/sqlite/unit/transaction.ts'
import { outboxSql } from './statements/statements.ts'

type Saving = Required<Pick<OutboxStorage<SqliteDatabase>, 'save' | 'saveWithin'>>

export function saving(connection: Connection): Saving {
  const lane = lanes()
  const insert = (
    handle: Handle,
    messages: readonly OutgoingMessage[],
    options: SaveOptions = {},
  ): SavedRow[] => {
    try {
      const saved = insertAll(connection, handle, messages, options)
      // What is born claimed waits for nobody.
      if (saved.some(({ kind }) => kind === 'row')) connection.announceAfterCommit(handle, 'outbox')
      return saved
    } catch (error) {
      throw storeError('saving messages', error)
    }
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
        leave: async (mark, before) => leaveMark(tx, mark, before),
        later: async (mark) => {
          const ready = await messages
          const handle = await openTransaction(connection, tx)
          requireMark(handle, mark)
          return insert(handle, ready)
        },
      })
    },
  }
}

function insertAll(
  connection: Connection,
  handle: Handle,
  messages: readonly OutgoingMessage[],
  { express }: SaveOptions,
): SavedRow[] {
  const now = connection.settings.clock.now()
  for (const message of messages) checkStorable(message, wellFormed)
  const mayClaim =
    express === undefined ? () => false : expressRule(handle, connection.makesDurable(handle))
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
      dueAt: (message.delayMs ?? 0) > 0 ? Math.ceil(free) : null,
    })
    return savedRow(position, claimed)
  })
}

/**
 * Which rows of one call may be born claimed: those whose key has no open row but such ones of this
 * call.
 */
function expressRule(handle: Handle, durable: boolean): (message: OutgoingMessage) => boolean {
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
