/** Keeps producers from writing more than clerks handle: a backlog would only be drained for long. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Desk } from '../desks/desk.ts'

const MOST_BEHIND = 300
const LOOK_MS = 500

export interface Pace {
  /** Resolves when there is room for more; false: nothing more is begun. */
  room(): Promise<boolean>
}

export function paceOfClerks<Tx>(
  { ask, prefix }: Pick<Desk<Tx>, 'ask' | 'prefix'>,
  enough: AbortSignal,
): Pace {
  const count = (table: string): string => `(select count(*) from ${prefix}${table})`
  const sql = `select ${count('starts')} - ${count("saga_steps where step = 'start'")} + ${count('sent_steps')} - ${count('done_steps')} as n`
  const state = { behind: 0 }

  async function watch(): Promise<void> {
    while (!enough.aborted) {
      // While the database is away nothing is written either.
      await ask(sql).then(
        ([row]) => (state.behind = Number(row?.['n'] ?? 0)),
        () => {},
      )
      await sleep(LOOK_MS)
    }
  }
  void watch()

  return {
    async room() {
      while (state.behind > MOST_BEHIND && !enough.aborted) await sleep(LOOK_MS / 5)
      return !enough.aborted
    },
  }
}
