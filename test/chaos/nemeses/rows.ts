/** Rows that cannot go, or cannot be given up. They hold up nobody else. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { bodyDigest, type Letter } from '../places/letters.ts'
import { bodyOf, type ForeignRow } from '../places/sqlite.ts'
import { storeKinds } from '../plan.ts'
import { loadSource } from '../source.ts'
import { write } from './foreign-rows.ts'
import { type AnyPlace, type Nemesis, type Scene, upTo } from './nemesis.ts'

/**
 * SQLite writes a huge row several times until it is a dead letter, which takes a busy disk long.
 */
const patienceMs = ({ kind }: AnyPlace): number => (kind === 'sqlite' ? 120_000 : 30_000)
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

/**
 * As an operator does with dead letters that he has looked at. They would fill the disk of the run
 * with each fault. What plain SQL finds before stands in the history: the checkers take them for
 * dead letters by it.
 */
async function discarded(scene: Scene, rows: readonly ForeignRow[]): Promise<void> {
  const { place, history, builds } = scene
  const ids = rows.map(({ id }) => id)
  const letters = new Map<string, Letter>()
  for (const letter of await place.letters(ids)) letters.set(letter.id, letter)
  for (const row of rows) {
    const letter = letters.get(row.id)
    if (letter === undefined) throw new Error(`${row.id} is no dead letter`)
    const body = bodyOf(row)
    const sent = { bytes: body.byteLength, digest: bodyDigest(body) }
    const reason = row.padding === undefined ? undefined : 'too-large'
    history.note({ op: 'letter', phase: 'ok', letter, sent, reason })
  }
  const source = await loadSource(builds.present.source)
  for (const late = performance.now() + patienceMs(place); ; await sleep(100)) {
    try {
      await place.discard(source, ids)
      break
    } catch (error) {
      // The file may be busy for longer than an operator's command waits.
      if (performance.now() > late) throw error
    }
  }
  if ((await place.deadOf(ids)) > 0)
    throw new Error('dead letters were discarded, and are still there')
}

async function huge(scene: Scene): Promise<string> {
  const { place, programs, doomed } = scene
  // That build reads rows of any size into its memory.
  if (programs.some((program) => program.buildOf(program.life) === 'previous'))
    throw new Error('a program is still of the previous build')
  const rows = [1, 2].map(() => newRow(undefined, { padding: HUGE_BYTES }))
  const ids = rows.map(({ id }) => id)
  for (const id of ids) doomed.add(id)
  await write(place, rows)
  if (!(await buried(place, ids, patienceMs(place))))
    throw new Error('the huge rows did not become dead letters')
  await discarded(scene, rows)
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
async function unburied(scene: Scene): Promise<string> {
  const { place, random, doomed } = scene
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
  if (!(await buried(place, ids, patienceMs(place))))
    throw new Error('they were not buried afterwards')
  await discarded(scene, rows)
  return `${rows.length} rows were set aside, and buried later`
}

export const rowFaults: readonly Nemesis[] = [
  {
    name: 'huge-row',
    says: 'rows of 80 MiB, which nobody can read or publish',
    touches: 'database',
    on: storeKinds.filter((kind) => kind !== 'mysql'),
    inject: huge,
  },
  {
    name: 'jam',
    says: 'hundreds of due rows behind a head that is due in an hour',
    touches: 'database',
    on: storeKinds,
    inject: jam,
  },
  {
    name: 'unburied',
    says: 'the database refuses dead letters for seconds, and some rows have to become one',
    touches: 'database',
    on: storeKinds,
    inject: unburied,
  },
]
