/**
 * Writes business rows and messages in transactions of many kinds, one after the other on several
 * lanes.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EventType, Mersal } from '../../src/index.ts'
import type { Sender } from '../../src/app/types.ts'
import type { BusinessRow, Desk } from './desks/desk.ts'
import { errorText, type History } from './history.ts'
import { type Body, headers, KEYS, topics } from './plan.ts'
import { seededRandom } from '../../scripts/seeded-random.ts'

const LANES = 2
/** Between two transactions of a lane. */
const PAUSE_MS = 25
const LATE_MS = 700
export const NOTE = 'Füße, 東京 & "quotes"'

class Undo extends Error {}

export const digestOf = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 16)

export interface Production<Tx> {
  readonly desk: Desk<Tx>
  readonly app: Mersal<Tx>
  readonly booked: EventType<Body>
  readonly history: History
  readonly seed: number
  /** Nothing more is written after it. */
  readonly enough: AbortSignal
}

type Kind = 'own' | 'rolled back' | 'swallowed' | 'foreign' | 'late'

interface Lane<Tx> extends Production<Tx> {
  readonly random: () => number
  readonly numbers: () => number
}

function kindOf<Tx>({ random, desk }: Lane<Tx>): Kind {
  const dice = random()
  if (dice < 0.15) return 'rolled back'
  if (desk.foreign === undefined || dice >= 0.35) return 'own'
  if (dice < 0.2) return 'late'
  return dice < 0.23 ? 'swallowed' : 'foreign'
}

/** From one byte to some thousands, with characters of several bytes. */
function textOf(random: () => number): string {
  const length = Math.floor(random() ** 4 * 4000) + 1
  return `${random().toString(36)}${'x\u{1F600}é'.repeat(Math.ceil(length / 3))}`.slice(0, length)
}

async function write<Tx>(
  lane: Lane<Tx>,
  tx: Tx,
  publish: Sender['publish'],
  count: number,
): Promise<string[]> {
  const rows: BusinessRow[] = []
  for (let index = 0; index < count; index += 1) {
    const key = lane.random() < 0.3 ? undefined : `key ${Math.floor(lane.random() ** 2 * KEYS)}`
    const text = `${lane.seed}/${lane.random()} ${textOf(lane.random)}`
    const options = {
      headers: { [headers.note]: NOTE },
      ...(key === undefined ? {} : { partitionKey: key }),
    }
    const id = await publish(lane.booked, { text }, options)
    rows.push({ id, topic: topics.booked, key, digest: digestOf(text) })
  }
  await lane.desk.business(tx, rows)
  return rows.map(({ id }) => id)
}

async function unit<Tx>(
  lane: Lane<Tx>,
  kind: Kind,
  written: (ids: readonly string[]) => void,
): Promise<void> {
  const { app, desk, random } = lane
  const count = 1 + Math.floor(random() * 4)
  if ((kind === 'foreign' || kind === 'late') && desk.foreign !== undefined) {
    return await desk.foreign(async (tx) => {
      // One message: its key is locked at once, so that no two such transactions wait for each
      // other.
      const ids = await write(lane, tx, app.within(tx).publish, 1)
      if (kind === 'late') await sleep(LATE_MS)
      written(ids)
    })
  }
  await app.transaction(async (tx, { publish }) => {
    written(await write(lane, tx, publish, count))
    // The server will roll back, and answer COMMIT without an error.
    if (kind === 'swallowed')
      await (tx as { query(sql: string): Promise<unknown> }).query('select 1 / 0').catch(() => {})
    if (kind === 'rolled back') throw new Undo()
  })
}

/** Whether nothing can have been committed. Only of a lost answer to COMMIT does nobody know. */
function surelyUndone(error: unknown, committing: boolean): boolean {
  if (error instanceof Undo || !committing) return true
  const { code } = error as { code?: unknown }
  if (code === 'MERSAL_COMMIT_UNKNOWN') return false
  return typeof code === 'string' && code.startsWith('MERSAL_')
}

async function runLane<Tx>(lane: Lane<Tx>): Promise<void> {
  while (!lane.enough.aborted) {
    const tx = lane.numbers()
    const kind = kindOf(lane)
    let committing = false
    try {
      await unit(lane, kind, (ids) => {
        lane.history.note({ op: 'tx', phase: 'invoke', tx, kind, ids })
        committing = true
      })
      lane.history.note({ op: 'tx', phase: 'ok', tx })
    } catch (error) {
      lane.history.note({
        op: 'tx',
        phase: surelyUndone(error, committing) ? 'fail' : 'info',
        tx,
        error: errorText(error),
      })
      if (!(error instanceof Undo)) await sleep(100)
    }
    await sleep(PAUSE_MS * 2 * lane.random())
  }
}

export async function produce<Tx>(production: Production<Tx>): Promise<void> {
  let number = 0
  const numbers = (): number => ++number
  const lanes = Array.from({ length: LANES }, (_, index) =>
    runLane({ ...production, numbers, random: seededRandom(production.seed * 7 + index) }),
  )
  await Promise.all(lanes)
}
