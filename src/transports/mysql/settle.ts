import { bytesOf, microseconds, textOf } from '../../sql/mysql/bytes.ts'
import { type Query, listsOf } from '../../sql/mysql/own.ts'
import { asideMs, asideText, deadText } from '../shared/aside.ts'
import { delayOf } from '../queues/delay.ts'
import { type Hold, type Settled, settledAs, type SettlerOptions } from '../queues/settler.ts'
import type { Connection } from './connection.ts'
import { headsOf, type Pair } from './heads.ts'
import type { QueueStatements } from './statements.ts'

export function recording(connection: Connection): Pick<SettlerOptions, 'record' | 'putAside'> {
  const { sql } = connection
  const settling = async <Result>(work: (query: Query) => Promise<Result>): Promise<Result> =>
    (await connection.ready()).transaction('settling messages', work)
  return {
    record: (batch) => settling((query) => record(query, sql, batch)),
    putAside: (batch) =>
      settling(async (query) => {
        for (const { hold, disposition } of settledAs(batch, 'reject')) {
          const { reason, error } = disposition
          const wait = microseconds(asideMs(asideText(error) !== undefined))
          const texts = [reason, deadText(error)].map(bytesOf)
          await query(sql.aside, [wait, ...texts, ...ownedBy(hold)])
        }
      }),
  }
}

const ownedBy = ({ position, token }: Hold): unknown[] => [BigInt(position), token]

async function record(
  query: Query,
  sql: QueueStatements,
  batch: readonly Settled[],
): Promise<readonly string[]> {
  for (const { hold, disposition } of settledAs(batch, 'retry')) {
    const { delayMs, postponedSince: since } = disposition
    const [wait, held] = [microseconds(delayOf(delayMs)), ownedBy(hold)]
    if (since === undefined) await query(sql.retry, [wait, ...held])
    else await query(sql.postpone, [wait, Math.round(since), ...held])
  }
  for (const { hold } of settledAs(batch, 'release')) await query(sql.release, ownedBy(hold))
  const rejected = settledAs(batch, 'reject')
  const gone = await lockHeld(query, sql, [...settledAs(batch, 'ack'), ...rejected])
  for (const { hold, disposition } of rejected) {
    if (!gone.has(hold.position)) continue
    const texts = [disposition.reason, deadText(disposition.error)].map(bytesOf)
    await query(sql.bury, [...texts, BigInt(hold.position)])
  }
  for (const some of listsOf([...gone.keys()])) await query(sql.remove, [some.map(BigInt)])
  return await promote(query, sql, [...gone.values()])
}

/** Of these the ones that are still held with their token, each with its key. */
async function lockHeld(
  query: Query,
  sql: QueueStatements,
  settled: readonly { readonly hold: Hold }[],
): Promise<ReadonlyMap<string, Pair | undefined>> {
  const tokens = new Map(settled.map(({ hold }) => [hold.position, hold.token]))
  const gone = new Map<string, Pair | undefined>()
  const positions = [...tokens.keys()].toSorted((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1))
  for (const some of listsOf(positions)) {
    const { rows } = await query<Record<'position' | 'token' | 'queue' | 'partition_key', unknown>>(
      sql.lockHeld,
      [some.map(BigInt)],
    )
    for (const row of rows) {
      const position = textOf(row.position)
      if (textOf(row.token) !== tokens.get(position)) continue
      const key = row.partition_key === null ? undefined : textOf(row.partition_key)
      gone.set(position, key === undefined ? undefined : { queue: Number(row.queue), key })
    }
  }
  return gone
}

/** After messages of a key have gone, the next one of that key takes its turn. */
async function promote(
  query: Query,
  sql: QueueStatements,
  pairs: readonly (Pair | undefined)[],
): Promise<readonly string[]> {
  const keyed = pairs.filter((pair) => pair !== undefined)
  const waiting = (await headsOf(query, sql, keyed)).flatMap(({ waits, position }) =>
    waits ? position : [],
  )
  for (const some of listsOf(waiting)) await query(sql.promote, [some.map(BigInt)])
  return waiting
}
