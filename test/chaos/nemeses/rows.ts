/** Rows that cannot go, or cannot be given up. They hold up nobody else. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ForeignRow } from '../places/sqlite.ts'
import { write } from './foreign-rows.ts'
import { type AnyPlace, type Nemesis, type Scene, upTo } from './nemesis.ts'

const PATIENCE_MS = 30_000
/** Above what any transport takes. */
const HUGE_BYTES = 80 << 20

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
  // MariaDB takes no row that is larger than what a program of ours may have.
  const cause = place.kind === 'mysql' ? { damaged: true } : { padding: HUGE_BYTES }
  const rows = [1, 2].map(() => newRow(undefined, cause))
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

const everywhere = ['postgres', 'nats', 'sqlite', 'mysql'] as const

export const rowFaults: readonly Nemesis[] = [
  {
    name: 'huge-row',
    says: 'rows of 80 MiB, which nobody can read or publish',
    touches: 'database',
    on: ['postgres', 'nats', 'sqlite'],
    inject: huge,
  },
  {
    name: 'jam',
    says: 'hundreds of due rows behind a head that is due in an hour',
    touches: 'database',
    on: everywhere,
    inject: jam,
  },
  {
    name: 'unburied',
    says: 'the database refuses dead letters for seconds, and some rows have to become one',
    touches: 'database',
    on: everywhere,
    inject: unburied,
  },
]
