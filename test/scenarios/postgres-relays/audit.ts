/** What the log, the business rows and the witness say about a finished run. */
import type { Pool } from 'pg'
import type { Kill } from './faults.ts'
import type { Arrival } from './log.ts'
import { earlyClaims, lostClaims, staleSettles } from './witness.ts'

/** A message whose business row was committed. */
interface Committed {
  readonly id: string
  readonly key: string | null
  readonly late: boolean
  /** Microseconds since the epoch, from the server's record of its commits. */
  readonly committed: string
}

export interface Findings {
  readonly committed: number
  readonly published: number
  readonly lost: number
  readonly phantom: number
  /** First arrivals of one key against the order of the commits. */
  readonly inversions: number
  /** Settlements by a former owner that changed a row. */
  readonly staleSettles: number
  /** Claims of rows that another claim still held. */
  readonly earlyClaims: number
  readonly deadLetters: number
  readonly duplicates: {
    readonly crash: number
    readonly lostClaim: number
    readonly unknown: number
    readonly unexplained: number
  }
  /** Late units that a message with a higher position had left before they were committed. */
  readonly passedLate: number
  /**
   * From the kill to the first and the last first publish, by another relay, of what the killed one
   * held.
   */
  readonly takeoverMs: { readonly first: number; readonly last: number }
  readonly byRelay: Readonly<Record<string, number>>
}

export interface Evidence {
  readonly pool: Pool
  readonly schema: string
  readonly arrivals: readonly Arrival[]
  readonly kill: Kill
  /** `id token` of the publishes that a broker did not answer. */
  readonly unknown: ReadonlySet<string>
}

export async function audit(evidence: Evidence): Promise<Findings> {
  const { pool, schema, arrivals, kill } = evidence
  const count = async (sql: string): Promise<number> =>
    (await pool.query<{ n: number }>(sql)).rows[0]?.n ?? 0
  const committed = await commits(pool, schema)
  const known = new Set(committed.map(({ id }) => id))
  const arrived = new Set(arrivals.map(({ id }) => id))
  return {
    committed: committed.length,
    published: arrivals.length,
    lost: [...known].filter((id) => !arrived.has(id)).length,
    phantom: [...arrived].filter((id) => !known.has(id)).length,
    inversions: inversions(committed, arrivals),
    staleSettles: await count(staleSettles(schema)),
    earlyClaims: await count(earlyClaims(schema)),
    deadLetters: await count(
      `select ((select count(*) from ${schema}.dead) + (select count(*) from ${schema}.outbox))::int as n`,
    ),
    duplicates: await duplicates(evidence),
    passedLate: passedLate(committed, arrivals),
    takeoverMs: takeover(arrivals, kill),
    byRelay: Object.fromEntries(
      [...Map.groupBy(arrivals, ({ relay }) => relay)].map(([relay, all]) => [relay, all.length]),
    ),
  }
}

/** In the order of their commits, and of their places within a unit. */
async function commits(pool: Pool, S: string): Promise<readonly Committed[]> {
  const { rows } = await pool.query<Committed>(
    `select b.id::text, b.key, b.late, (extract(epoch from c.at) * 1000000)::bigint::text as committed
     from ${S}.business b cross join lateral (select pg_xact_commit_timestamp(b.xmin) as at) c order by c.at, b.place`,
  )
  return rows
}

function inversions(committed: readonly Committed[], arrivals: readonly Arrival[]): number {
  const order = new Map(committed.map(({ id, key }, index) => [id, { key, index }]))
  const last = new Map<string, number>()
  let found = 0
  for (const id of new Set(arrivals.map((arrival) => arrival.id))) {
    const place = order.get(id)
    if (place === undefined || place.key === null) continue
    const highest = last.get(place.key) ?? -1
    if (place.index < highest) found += 1
    else last.set(place.key, place.index)
  }
  return found
}

function passedLate(committed: readonly Committed[], arrivals: readonly Arrival[]): number {
  const positions = new Map(arrivals.map(({ id, position }) => [id, position]))
  const late = committed.filter((message) => message.late)
  return late.filter(({ id, committed: at }) => {
    const position = positions.get(id) ?? 0n
    return arrivals.some((arrival) => arrival.position > position && arrival.at < Number(at) / 1000)
  }).length
}

function takeover(arrivals: readonly Arrival[], { at, held, relay }: Kill): Findings['takeoverMs'] {
  const ids = new Set(held.map(({ id }) => id))
  const first = new Map<string, number>()
  for (const arrival of arrivals) {
    if (arrival.relay === relay || arrival.at < at || !ids.has(arrival.id)) continue
    first.set(arrival.id, Math.min(first.get(arrival.id) ?? Infinity, arrival.at))
  }
  const times = [...first.values()].map((time) => time - at)
  return { first: Math.min(...times), last: Math.max(...times) }
}

/**
 * Why each surplus publish happened. Of one message, the publish under the claim that settled it is
 * the proper one. Any other belongs to a claim that the killed relay held, to a claim that was
 * taken over, or to a publish that the broker did not answer; else it is unexplained.
 */
async function duplicates({
  pool,
  schema,
  arrivals,
  kill,
  unknown,
}: Evidence): Promise<Findings['duplicates']> {
  const { rows } = await pool.query<{ position: string; token: string }>(lostClaims(schema))
  const lost = new Set(rows.map(({ position, token }) => `${position} ${token}`))
  const crashed = new Set(kill.held.map(({ id, token }) => `${id} ${token}`))
  const causes = { crash: 0, lostClaim: 0, unknown: 0, unexplained: 0 }
  const isUnknown = ({ id, token }: Arrival): boolean => unknown.has(`${id} ${token}`)
  let surplus = 0
  for (const copies of Map.groupBy(arrivals, ({ id }) => id).values()) {
    if (copies.length === 1) continue
    surplus += copies.length - 1
    let proper = false
    const claims = [...Map.groupBy(copies, ({ token }) => token).values()].sort(
      (a, b) => Number(a.some(isUnknown)) - Number(b.some(isUnknown)),
    )
    for (const [first, ...again] of claims) {
      if (first === undefined) continue
      if (crashed.has(`${first.id} ${first.token}`)) causes.crash += 1
      else if (lost.has(`${first.position} ${first.token}`)) causes.lostClaim += 1
      else if (!proper) proper = true
      else causes[isUnknown(first) ? 'unknown' : 'unexplained'] += 1
      causes[isUnknown(first) ? 'unknown' : 'unexplained'] += again.length
    }
  }
  // A message of which every copy has an excuse was never settled by the claim that published it.
  const excused = causes.crash + causes.lostClaim + causes.unknown + causes.unexplained
  return { ...causes, unexplained: causes.unexplained + Math.abs(surplus - excused) }
}
