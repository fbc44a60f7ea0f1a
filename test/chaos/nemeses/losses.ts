/** Faults by which an operator loses messages: what was in the queue, or should have come to it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { readHistory } from '../history.ts'
import type { ClusterScene, Scene } from './nemesis.ts'

/** Promised is a quarter of a minute. */
const PATIENCE_MS = 30_000
/** A fault that took longer has not landed, and messages are lost all the same until it is over. */
const LATE_MS = 120_000

export interface Losing {
  /** May have happened also if it rejects: under load an answer comes too late. */
  readonly remove: () => Promise<unknown>
  /** Resolves when messages come to the queue again; rejects if they do not within the time. */
  readonly back: (withinMs: number) => Promise<void>
}

type Where = Pick<ClusterScene, 'wiped' | 'history'> & {
  readonly place: Pick<ClusterScene['place'], 'query'>
}

/**
 * Returns how many messages may have been lost. They are noted whatever goes wrong, or checkers
 * would count them as lost by Mersal.
 */
export async function losing(scene: Where, { remove, back }: Losing): Promise<number> {
  const failures: unknown[] = []
  try {
    await remove()
    await back(PATIENCE_MS)
  } catch (error) {
    failures.push(error)
    await back(LATE_MS).catch((late: unknown) => void failures.push(late))
  }
  const count = await written(scene)
  if (failures.length > 0) throw failures[0]
  return count
}

/** It has no effect, and nobody sends it again. The database may be away: another fault. */
async function written({ place, wiped, history }: Where): Promise<number> {
  for (const late = performance.now() + LATE_MS; ; await sleep(250)) {
    try {
      const rows = await place.query<{ id: string }>(
        'select id::text from chaos.business b where not exists (select from chaos.effects e where e.id = b.id)',
      )
      for (const { id } of rows) wiped.add(id)
      history.note({ op: 'fault', phase: 'ok', name: 'wiped', detail: String(rows.length) })
      return rows.length
    } catch (error) {
      if (performance.now() > late) throw error
    }
  }
}

/**
 * Says how many publishes since then were answered otherwise than with a confirm; throws if none
 * was.
 */
export function refusedSince({ folder }: Pick<Scene, 'folder'>, since: number): string {
  const { length } = readHistory(folder).filter(
    (line) =>
      line.t > since &&
      line.op === 'publish' &&
      line.phase !== 'invoke' &&
      line.kind !== 'confirmed',
  )
  if (length === 0) throw new Error('every publish was confirmed')
  return `${length} not confirmed`
}

/** A server that is busy may not answer: that is no reason to call something gone, or there. */
export async function comesBack(
  isThere: () => Promise<boolean>,
  what: string,
  withinMs = PATIENCE_MS,
): Promise<void> {
  const late = performance.now() + withinMs
  while (!(await isThere().catch(() => false))) {
    if (performance.now() > late) throw new Error(`${what} did not come back`)
    await sleep(100)
  }
}
