import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { errorText } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import {
  type ClaimedMessage,
  type ClaimRequest,
  type OutboxStorage,
  type SavedMessage,
  type SaveOptions,
  SET_ASIDE_MS,
  type Settlement,
  type SettleResult,
} from '../../core/outbox.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { lanes } from '../../sql/lanes.ts'
import type { Logger } from '../../core/telemetry.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { sqliteClock } from './clock.ts'
import type { Connection } from './connection/connection.ts'
import type { Handle, SqliteDatabase } from './connection/database.ts'
import { storeError } from './connection/failure.ts'
import { checkStorable, claimedMessage, type ClaimedRow } from './rows.ts'
import { NEVER, outboxSql } from './statements/statements.ts'
import {
  checkTransaction,
  leaveMark,
  openTransaction,
  requireMark,
  transactionNow,
} from './unit/transaction.ts'

const LARGEST_POSITION = 9_223_372_036_854_775_807n

export interface OutboxSettings {
  /** 0: confirmed rows are deleted at once. */
  readonly keepSentMs: number
  readonly logger: Logger
}

/** The outbox table. */
export function sqliteOutbox(
  connection: Connection,
  { keepSentMs, logger }: OutboxSettings,
): OutboxStorage<SqliteDatabase> {
  const { clock } = connection.settings
  const lane = lanes()
  const insert = (
    handle: Handle,
    messages: readonly OutgoingMessage[],
    options: SaveOptions = {},
  ): SavedMessage[] => {
    try {
      const saved = insertAll(handle, messages, options, clock.now())
      connection.announceAfterCommit(handle, 'outbox')
      return saved
    } catch (error) {
      throw storeError('saving messages', error)
    }
  }
  const mayTell = seldom(clock, 60_000)

  function cannotBury(cause: unknown): void {
    const text =
      'a damaged row cannot be stored as a dead letter; it is set aside and tried again later'
    if (mayTell('bury')) logger.error({ store: 'sqlite', error: errorText(cause) }, text)
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
      return connection.write((handle) =>
        claimRows(handle, request, { now: clock.now(), cannotBury }),
      )
    },
    settle: (settlements) =>
      connection.write((handle): SettleResult => {
        let stale = 0
        for (const settlement of settlements)
          if (!settleOne(handle, settlement, clock.now(), keepSentMs)) stale++
        return { stale }
      }),
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
): SavedMessage[] {
  const { express } = options
  for (const message of messages) checkStorable(message)
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
    return { position, express: claimed }
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

interface Moment {
  readonly now: number
  readonly cannotBury: (cause: unknown) => void
}

function claimRows(handle: Handle, request: ClaimRequest, moment: Moment): ClaimedMessage[] {
  const { now } = moment
  const { keys } = request
  const values = {
    from: request.fromPosition ?? 0n,
    upTo: endOf(handle, request),
    now: Math.trunc(now),
    until: Math.ceil(now + request.claimMs),
    except: JSON.stringify(request.exceptDestinations ?? []),
    exceptKeys: JSON.stringify(request.exceptKeys ?? []),
    limit: request.limit,
    maxBytes: request.maxBytes ?? CLAIM_BYTES,
    largest: request.largestBytes ?? LARGEST_ROW_BYTES,
    token: request.token,
  }
  const rows =
    keys === undefined
      ? handle.all<ClaimedRow>(outboxSql.claim, values)
      : handle.all<ClaimedRow>(outboxSql.claimThese, {
          ...values,
          positions: positionsOf(handle, keys, request.limit),
        })
  const claimed: ClaimedMessage[] = []
  // RETURNING promises no order.
  for (const row of rows.sort((left, right) => left.position - right.position)) {
    const message = claimedMessage(row, request.token)
    if (message instanceof MersalError)
      buryDamaged(handle, { position: BigInt(row.position), token: request.token }, message, moment)
    else claimed.push(message)
  }
  return claimed
}

/** The first rows of these keys, as JSON. */
function positionsOf(handle: Handle, keys: readonly string[], limit: number): string {
  const rows = [...new Set(keys)].flatMap((key) =>
    handle.all<{ position: number }>(outboxSql.rowsOfKey, { key, limit }),
  )
  return JSON.stringify(rows.map(({ position }) => position))
}

/** A row that somebody has changed into something that is no message must not stop the others. */
function buryDamaged(
  handle: Handle,
  fence: Pick<Settlement, 'position' | 'token'>,
  error: MersalError,
  { now, cannotBury }: Moment,
): void {
  try {
    bury(
      handle,
      { kind: 'dead', ...fence, reason: 'malformed', error, onDead: 'skip', maybePublished: false },
      now,
    )
  } catch (cause) {
    if (!handle.inTransaction) throw cause
    // What cannot be buried must not stop the others either.
    handle.run(outboxSql.release, { ...fence, visibleAt: Math.ceil(now + SET_ASIDE_MS) })
    cannotBury(cause)
  }
}

/** Returns whether a row was changed. */
function settleOne(
  handle: Handle,
  settlement: Settlement,
  now: number,
  keepSentMs: number,
): boolean {
  const fence = { position: settlement.position, token: settlement.token }
  switch (settlement.kind) {
    case 'sent':
      if (keepSentMs > 0 && settlement.keep !== false)
        handle.run(outboxSql.keepSent, { ...fence, now: Math.trunc(now) })
      return handle.run(outboxSql.remove, fence).changes > 0
    case 'retry':
      return (
        handle.run(outboxSql.retry, { ...fence, visibleAt: Math.ceil(now + settlement.delayMs) })
          .changes > 0
      )
    case 'release':
      return (
        handle.run(outboxSql.release, {
          ...fence,
          visibleAt: Math.ceil(now + (settlement.delayMs ?? 0)),
        }).changes > 0
      )
    case 'dead':
      return bury(handle, settlement, now)
    default:
      return settlement satisfies never
  }
}

function bury(
  handle: Handle,
  settlement: Settlement & { readonly kind: 'dead' },
  now: number,
): boolean {
  const fence = { position: settlement.position, token: settlement.token }
  const buried = handle.all<{ blocks: number }>(outboxSql.bury, {
    ...fence,
    block: settlement.onDead === 'block-key' ? 1 : 0,
    reason: settlement.reason,
    error: errorText(settlement.error),
    maybePublished: settlement.maybePublished ? 1 : 0,
    now: Math.trunc(now),
  })[0]
  if (buried === undefined) return false
  if (buried.blocks === 1) handle.run(outboxSql.block, { ...fence, never: NEVER })
  else handle.run(outboxSql.remove, fence)
  return true
}
