/** Rows that cannot go, or cannot be given up. They hold up nobody else. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ForeignRow } from '../places/sqlite.ts'
import { headers, topics } from '../plan.ts'
import { digestOf, NOTE } from '../producer.ts'
import {
  type AnyPlace,
  type Nemesis,
  onPostgres,
  onSqlite,
  type PostgresScene,
  type Scene,
  type SqliteScene,
  upTo,
} from './nemesis.ts'

const PATIENCE_MS = 30_000
/** Above what any transport takes. */
const HUGE_BYTES = 80 << 20

/**
 * Writes business rows and outbox rows in one transaction, as a program in another language does.
 */
async function write(place: AnyPlace, rows: readonly ForeignRow[]): Promise<void> {
  const sent = JSON.stringify({ [headers.note]: NOTE })
  if (place.kind === 'sqlite') return place.write(rows, sent)
  if (place.kind !== 'postgres') throw new Error(`no foreign rows on ${place.kind}`)
  for (const { id, key, text, padding = 0, delayMs = 0 } of rows) {
    await place.query(
      `with business as (insert into chaos.business (id, topic, key, digest) values ($1, $2, $3, $4))
       insert into chaos.outbox (id, key, type, transport, kind, name, headers, body, visible_at)
       values ($1, $3, $2, 'default', 'topic', $2, $5, convert_to($6, 'UTF8') || convert_to(repeat(' ', $7), 'UTF8'),
         clock_timestamp() + make_interval(secs => $8))`,
      [
        id,
        topics.billed,
        key ?? null,
        digestOf(text),
        sent,
        JSON.stringify({ text }),
        padding,
        delayMs / 1000,
      ],
    )
  }
}

const newRow = (key: string | undefined, more: Partial<ForeignRow> = {}): ForeignRow => ({
  id: randomUUID(),
  key,
  text: `row ${randomUUID()}`,
  ...more,
})

/** Whether all of them are dead letters, within a time. */
async function buried(place: AnyPlace, ids: readonly string[], withinMs: number): Promise<boolean> {
  for (const late = performance.now() + withinMs; performance.now() < late; await sleep(100)) {
    const dead = await place.deadOf(ids)
    if (dead === ids.length) return true
  }
  return false
}

async function huge({ place, programs, doomed }: Scene): Promise<string> {
  // That build reads rows of any size into its memory.
  if (programs.some((program) => program.buildOf(program.life) === 'previous'))
    throw new Error('a program is still of the previous build')
  const rows = [1, 2].map(() => newRow(undefined, { padding: HUGE_BYTES }))
  const ids = rows.map(({ id }) => id)
  for (const id of ids) doomed.add(id)
  await write(place, rows)
  if (!(await buried(place, ids, PATIENCE_MS)))
    throw new Error('the huge rows did not become dead letters')
  return `${rows.length} rows of ${HUGE_BYTES >> 20} MiB`
}

const JAM_ROWS = 400

/**
 * The head of the key is due in an hour, and many due rows stand behind it; then the head is let
 * go.
 */
async function jam({ place, random }: Scene): Promise<string> {
  const key = `jam ${randomUUID()}`
  const head = newRow(key, { delayMs: 3_600_000 })
  await write(place, [head, ...Array.from({ length: JAM_ROWS }, () => newRow(key))])
  await sleep(upTo(random, 2000, 5000))
  await place.makeDue([head.id])
  return `${JAM_ROWS} rows behind a head that was not due`
}

/** Nothing can become a dead letter; a row that has to stands in the way of none. */
async function unburied({ place, random, doomed }: Scene): Promise<string> {
  const rows = [1, 2].map(() => newRow(undefined, { padding: HUGE_BYTES }))
  const ids = rows.map(({ id }) => id)
  for (const id of ids) doomed.add(id)
  await place.refuseDead(true)
  try {
    await write(place, rows)
    await sleep(upTo(random, 4000, 8000))
    if ((await place.deadOf(ids)) > 0) throw new Error('a dead letter was stored all the same')
  } finally {
    await place.refuseDead(false)
  }
  // As an operator does who has found the cause.
  await place.makeDue(ids)
  if (!(await buried(place, ids, PATIENCE_MS))) throw new Error('they were not buried afterwards')
  return `${rows.length} rows were set aside, and buried later`
}

const faults = [
  { name: 'huge-row', says: 'rows of 80 MiB, which nobody can read or publish', inject: huge },
  { name: 'jam', says: 'hundreds of due rows behind a head that is due in an hour', inject: jam },
  {
    name: 'unburied',
    says: 'the database refuses dead letters for seconds, and some rows have to become one',
    inject: unburied,
  },
] as const

export const rowFaults: readonly Nemesis[] = faults.flatMap(({ name, says, inject }) => [
  onPostgres({ name, says, touches: 'database', inject: (scene: PostgresScene) => inject(scene) }),
  onSqlite({ name, says, touches: 'database', inject: (scene: SqliteScene) => inject(scene) }),
])
