import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { addTally, emptyTally, type Tally } from './tally.ts'

/** Seeds that a process gets at one time. */
const PORTION = 100
/** After so many violations the rest would only repeat them. */
const ENOUGH_VIOLATIONS = 10

export interface Crowd {
  readonly from: number
  readonly count: number
  readonly processes: number
  readonly progress?: (tally: Tally) => void
}

/** Runs the seeds in several processes, each with a portion at a time. */
export async function simulateMany({ from, count, processes, progress }: Crowd): Promise<Tally> {
  const total = emptyTally()
  const end = from + count
  let next = from
  const work = async (): Promise<void> => {
    const child = fork(join(import.meta.dirname, 'worker.ts'))
    try {
      while (next < end && total.violations.length < ENOUGH_VIOLATIONS) {
        const range = { from: next, count: Math.min(PORTION, end - next) }
        next += range.count
        addTally(total, await ask(child, range))
        progress?.(total)
      }
    } finally {
      child.disconnect()
    }
  }
  await Promise.all(Array.from({ length: processes }, work))
  total.violations.sort()
  return total
}

function ask(
  child: ChildProcess,
  range: { readonly from: number; readonly count: number },
): Promise<Tally> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void =>
      reject(
        new Error(
          `the process of seeds ${range.from} and following ended with ${code ?? 'a signal'}`,
        ),
      )
    child.once('exit', ended)
    child.once('message', (tally) => {
      child.off('exit', ended)
      resolve(tally as Tally)
    })
    child.send(range)
  })
}
