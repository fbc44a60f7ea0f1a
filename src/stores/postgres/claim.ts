import type { ClaimedMessage, ClaimRequest } from '../../core/outbox.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'
import {
  type BurialPorts,
  buryDamaged,
  type ClaimTerms,
  claimTerms,
  readClaimed,
} from '../../sql/shared/claims.ts'
import type { ClaimedRow } from '../../sql/shared/rows.ts'
import { tokenUuid } from './encode.ts'
import { settle } from './settle.ts'
import type { Statements } from './statements/statements.ts'
import type { Vacuum } from './vacuum.ts'

export interface ClaimPorts {
  readonly own: Own
  readonly sql: Statements
  readonly vacuum: Pick<Vacuum, 'deleted' | 'idle'>
  readonly cannotBury: BurialPorts['cannotBury']
}

export async function claim(ports: ClaimPorts, request: ClaimRequest): Promise<ClaimedMessage[]> {
  const { own, sql, vacuum, cannotBury } = ports
  const { stretch } = request
  const { text, values } = statementOf(sql, claimTerms(request, MOST_FETCHED_BYTES), stretch?.rows)
  const answer = await own.run<ClaimRow>('claiming messages', text, values, { often: true })
  const [{ next, last } = { next: null, last: null }] = answer.rows
  if (next !== null && last !== null) stretch?.stopped({ next: BigInt(next), last: BigInt(last) })
  const rows = answer.rows.filter((row): row is ClaimedRow & ClaimRow => row.position !== null)
  if (rows.length === 0) vacuum.idle()
  const { messages, damaged } = readClaimed(rows, request.token)
  await buryDamaged(damaged, request, {
    settle: (settlements) => settle(settlements, { own, sql, keepSent: false }),
    cannotBury,
  })
  return messages
}

/** One row for each claimed one, or a single row without a message. */
interface ClaimRow extends Omit<ClaimedRow, 'position'> {
  readonly position: string | null
  readonly next: string | null
  readonly last: string | null
}

function statementOf(
  sql: Statements,
  terms: ClaimTerms,
  stretch: number | undefined,
): { readonly text: string; readonly values: readonly unknown[] } {
  const { limit, claimMs, token, from, maxBytes, largestBytes, keys, positions } = terms
  const { exceptDestinations, exceptKeys } = terms
  const values = [
    limit,
    claimMs,
    tokenUuid(token),
    from.toString(),
    maxBytes,
    stretch ?? null,
    largestBytes,
  ]
  const except = [exceptDestinations, exceptKeys]
  if (keys !== undefined) return { text: sql.claimKeys, values: [...values, ...except, keys] }
  if (positions !== undefined)
    return { text: sql.claimRows, values: [...values, ...except, positions.map(String)] }
  if (exceptDestinations.length + exceptKeys.length > 0)
    return { text: sql.claimExcept, values: [...values, ...except] }
  return { text: sql.claim, values }
}
