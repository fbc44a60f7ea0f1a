import type { ClaimedMessage, ClaimRequest } from '../../core/outbox.ts'
import { type BurialPorts, buryDamaged, claimTerms, readClaimed } from '../../sql/shared/claims.ts'
import type { ClaimedRow } from '../../sql/shared/rows.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { outboxSql } from './statements/statements.ts'

const LARGEST_POSITION = 9_223_372_036_854_775_807n

export async function claim(
  connection: Connection,
  request: ClaimRequest,
  burial: BurialPorts,
): Promise<ClaimedMessage[]> {
  const { clock } = connection.settings
  await connection.open()
  // A look outside any transaction spares the writers of all processes an idle relay's lock.
  const idle = connection.peek((handle) => nothingDue(handle, request, clock.now()))
  if (idle === true) return []
  const rows = await connection.write((handle) => claimRows(handle, request, clock.now()))
  const { messages, damaged } = readClaimed(rows, request.token)
  await buryDamaged(damaged, request, burial)
  return messages
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
  if (request.keys !== undefined || request.positions !== undefined) return false
  const part = { from: request.fromPosition ?? 0n, upTo: endOf(handle, request), now }
  return handle.get(outboxSql.anyDue, part) === undefined
}

function claimRows(handle: Handle, request: ClaimRequest, now: number): ClaimedRow[] {
  const terms = claimTerms(request)
  const { limit, maxBytes, token, from, keys, positions } = terms
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
  const these = keys === undefined ? positions : firstRowsOf(handle, keys, limit)
  if (these === undefined) return handle.all<ClaimedRow>(outboxSql.claim, values)
  return handle.all<ClaimedRow>(outboxSql.claimThese, { ...values, positions: `[${these.join()}]` })
}

/** The positions of the first rows of these keys. */
function firstRowsOf(handle: Handle, keys: readonly string[], limit: number): readonly number[] {
  const rows = keys.flatMap((key) =>
    handle.all<{ position: number }>(outboxSql.rowsOfKey, { key, limit }),
  )
  return rows.map(({ position }) => position)
}
