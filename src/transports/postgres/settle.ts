import { errorText } from '../../core/errors/error-text.ts'
import type { Query } from '../../sql/postgres/pool/pool.ts'
import { asideMs, asideText, deadText } from '../shared/aside.ts'
import { type Settled, settledAs, type SettlerOptions } from '../queues/settler.ts'
import type { Connection } from './connection.ts'
import { delayOf } from '../queues/delay.ts'

/**
 * One statement per kind. Not flushed to the disk before it is answered: what a crash of the server
 * undoes comes again, as after any crash between handling and settling.
 */
export function recording(
  connection: Connection,
  queue: number,
): Pick<SettlerOptions, 'record' | 'putAside'> {
  const { own, sql } = connection
  const settling = <Result>(work: (query: Query) => Promise<Result>): Promise<Result> =>
    own.transaction('settling messages', work, { durable: false })
  return {
    record: (batch) => settling((query) => record(query, connection, queue, batch)),
    putAside: (batch) =>
      settling((query) => {
        const rejected = settledAs(batch, 'reject')
        const waits = rejected.map(({ disposition }) =>
          asideMs(asideText(disposition.error) !== undefined),
        )
        return query(sql.aside, [queue, ...holdsOf(rejected), waits, ...reasonsOf(rejected)])
      }),
  }
}

type Rejected = ReturnType<typeof settledAs<'reject'>>

async function record(
  query: Query,
  { sql }: Connection,
  queue: number,
  batch: readonly Settled[],
): Promise<readonly string[]> {
  const next: string[] = []
  const run = async (
    kind: 'ack' | 'retry' | 'release' | 'reject',
    some: readonly Settled[],
    ...more: readonly unknown[][]
  ): Promise<void> => {
    if (some.length === 0) return
    const values = [queue, ...holdsOf(some), ...more]
    const { rows } = await query<{ position: string }>(sql[kind], values)
    next.push(...rows.map(({ position }) => position))
  }
  const [retried, rejected] = [settledAs(batch, 'retry'), settledAs(batch, 'reject')]
  await run('ack', settledAs(batch, 'ack'))
  await run(
    'retry',
    retried,
    retried.map(({ disposition }) => delayOf(disposition.delayMs)),
    retried.map(({ disposition: { postponedSince } }) =>
      postponedSince === undefined ? null : Math.round(postponedSince),
    ),
  )
  await run('release', settledAs(batch, 'release'))
  await run('reject', rejected, ...reasonsOf(rejected))
  return next
}

const holdsOf = (batch: readonly Settled[]): unknown[][] => [
  batch.map(({ hold }) => hold.position),
  batch.map(({ hold }) => hold.token),
]

const reasonsOf = (rejected: Rejected): unknown[][] => [
  rejected.map(({ disposition }) => errorText(disposition.reason)),
  rejected.map(({ disposition }) => deadText(disposition.error)),
]
