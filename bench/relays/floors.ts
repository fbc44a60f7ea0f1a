import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { BenchRelay, OpenRelay, Sink } from './job.ts'

const BATCH = 500
/** Batches that may wait for confirms while the next one is read. */
const AHEAD = 3

interface Row {
  readonly id: string
  readonly body: Buffer
}

interface Floor {
  readonly client: Client
  readonly retiring: Client
  readonly sink: Sink
}

const byId = (rows: readonly Row[]): readonly Row[] =>
  [...rows].sort((a, b) => (BigInt(a.id) < BigInt(b.id) ? -1 : 1))

/**
 * `work` moves everything that is there, and nothing that comes later; if more is to come, it
 * begins again.
 */
function floor(work: (parts: Floor) => Promise<void>): OpenRelay {
  return async ({ database, arriving = false }, sink): Promise<BenchRelay> => {
    const [client, retiring] = [
      new Client({ connectionString: database }),
      new Client({ connectionString: database }),
    ]
    for (const each of [client, retiring]) {
      await each.connect()
      // On a table that was empty when it was last looked at, a plan may be quadratic.
      await each.query('set enable_seqscan = off; set jit = off')
    }
    let working: Promise<void> = Promise.resolve()
    return {
      async start() {
        working = arriving
          ? again(sink, () => work({ client, retiring, sink }))
          : work({ client, retiring, sink })
      },
      drained: () => working,
      async [Symbol.asyncDispose]() {
        await Promise.all([client.end(), retiring.end()])
      },
    }
  }
}

async function again(sink: Sink, work: () => Promise<void>): Promise<void> {
  const over = sink.all.then(() => true)
  for (;;) {
    await work()
    if (await Promise.race([over, sleep(1)])) return
  }
}

export const takeAndDelete = `delete from bench.plain where id = any (array(
  select id from bench.plain order by id limit ${BATCH} for update skip locked)) returning id, body`

/**
 * The least that can be done: one statement takes and deletes. What it has taken is lost with the
 * process.
 */
export const floorDelete: OpenRelay = floor(async ({ client, sink }) => {
  for (;;) {
    const { rows } = await client.query<Row>({ name: 'take', text: takeAndDelete })
    if (rows.length === 0) return
    await sink.publish(byId(rows).map(({ body }) => body))
  }
})

interface Taken {
  readonly rows: readonly Row[]
  readonly retire: (ids: readonly string[]) => Promise<unknown>
}

/**
 * Reads on while up to three batches are confirmed; they are retired one after the other, on a
 * connection of their own.
 */
async function overlapping({ sink }: Floor, take: () => Promise<Taken>): Promise<void> {
  const open = new Set<Promise<void>>()
  let retired: Promise<unknown> = Promise.resolve()
  for (;;) {
    const { rows, retire } = await take()
    if (rows.length === 0) break
    const batch = sink
      .publish(rows.map(({ body }) => body))
      .then(() => (retired = retired.then(() => retire(rows.map(({ id }) => id)))))
      .then(() => void open.delete(batch))
    open.add(batch)
    if (open.size >= AHEAD) await Promise.race(open)
  }
  await Promise.all(open)
}

/** Marked with a token, published, deleted by it: what a relay that others may join has to do. */
export const floorClaimed: OpenRelay = floor((parts) =>
  overlapping(parts, async () => {
    const token = randomUUID()
    const { rows } = await parts.client.query<Row>({
      name: 'claim',
      text: `update bench.plain set token = $1, visible_at = now() + interval '15 seconds' where id = any (array(
        select id from bench.plain where visible_at <= now() order by id limit ${BATCH} for update skip locked)) returning id, body`,
      values: [token],
    })
    return {
      rows: byId(rows),
      retire: (ids) =>
        parts.retiring.query({
          name: 'retire',
          text: 'delete from bench.plain where id = any ($1::bigint[]) and token = $2',
          values: [ids, token],
        }),
    }
  }),
)

/**
 * A single reader with a cursor: no claim, so no other relay may run, and rows that commit late are
 * lost.
 */
export const floorOverlap: OpenRelay = floor((parts) => {
  let last = '0'
  return overlapping(parts, async () => {
    const { rows } = await parts.client.query<Row>({
      name: 'read',
      text: `select id, body from bench.plain where id > $1 order by id limit ${BATCH}`,
      values: [last],
    })
    last = rows.at(-1)?.id ?? last
    return {
      rows,
      retire: (ids) =>
        parts.retiring.query({
          name: 'retire',
          text: 'delete from bench.plain where id = any ($1::bigint[])',
          values: [ids],
        }),
    }
  })
})
