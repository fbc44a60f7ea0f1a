/** What the business rows and the log say about a finished run. */
import type { Message } from 'amqplib'
import type { Pool } from 'pg'
import { contentOf } from './content.ts'

interface Committed {
  readonly id: string
  readonly number: number
  readonly series: boolean
  readonly key: string | null
  readonly turn: string | null
}

export interface Findings {
  readonly committed: number
  readonly keyed: number
  readonly published: number
  readonly lost: number
  readonly phantom: number
  readonly duplicates: number
  /** Arrivals of one key against the order of its commits. */
  readonly inversions: number
  /** Messages of which body, properties or headers are not as they were sent. */
  readonly altered: number
  /** What is wrong with the first few. */
  readonly examples: readonly string[]
  /** Rows that are left in the outbox, and dead letters. */
  readonly left: number
}

const SENT_AT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

function difference(
  row: Committed,
  log: string,
  { content, properties }: Message,
): string | undefined {
  const { body, contentType, headers } = contentOf(row.number, row.series)
  const { 'sent-at': sentAt, ...rest } = (properties.headers ?? {}) as Readonly<
    Record<string, unknown>
  >
  const sorted = (table: object): string =>
    JSON.stringify(Object.entries(table).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  if (!content.equals(body))
    return `message ${row.number}: body ${content.toString('latin1').slice(0, 80)}`
  if (sorted(rest) !== sorted(headers))
    return `message ${row.number}: headers ${sorted(rest)}, not ${sorted(headers)}`
  if (typeof sentAt !== 'string' || !SENT_AT.test(sentAt))
    return `message ${row.number}: sent-at ${String(sentAt)}`
  const { type, contentType: ofContent, correlationId, appId } = properties
  const found = JSON.stringify([type, ofContent, correlationId, appId])
  if (found !== JSON.stringify([log, contentType, row.id, 'sql']))
    return `message ${row.number}: properties ${found}`
  return undefined
}

function inversions(known: ReadonlyMap<string, Committed>, arrivals: readonly Message[]): number {
  const last = new Map<string, number>()
  let found = 0
  for (const id of new Set(arrivals.map(({ properties }) => String(properties.messageId)))) {
    const row = known.get(id)
    if (row === undefined || row.key === null) continue
    const turn = Number(row.turn)
    if (turn < (last.get(row.key) ?? 0)) found += 1
    else last.set(row.key, turn)
  }
  return found
}

export async function audit(
  pool: Pool,
  S: string,
  log: string,
  arrivals: readonly Message[],
): Promise<Findings> {
  const { rows } = await pool.query<Committed>(
    `select id::text, number, series, key, turn::text from ${S}.business`,
  )
  const left = await pool.query<{ n: number }>(
    `select ((select count(*) from ${S}.outbox) + (select count(*) from ${S}.dead))::int as n`,
  )
  const known = new Map(rows.map((row) => [row.id, row]))
  const arrived = new Set(arrivals.map(({ properties }) => String(properties.messageId)))
  const differences = arrivals.flatMap((message) => {
    const row = known.get(String(message.properties.messageId))
    return (row === undefined ? undefined : difference(row, log, message)) ?? []
  })
  return {
    committed: known.size,
    keyed: rows.filter(({ key }) => key !== null).length,
    published: arrivals.length,
    lost: rows.filter(({ id }) => !arrived.has(id)).length,
    phantom: [...arrived].filter((id) => !known.has(id)).length,
    duplicates: arrivals.length - arrived.size,
    inversions: inversions(known, arrivals),
    altered: differences.length,
    examples: differences.slice(0, 5),
    left: left.rows[0]?.n ?? 0,
  }
}
