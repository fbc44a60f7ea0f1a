import { appendFileSync } from 'node:fs'
import type { CrashPoint } from '../../testing/crash-points.ts'
import type { LifePlan } from '../plan.ts'

/** Counts the points that are reached, and kills this process at the one that it was told. */
export interface Trap {
  /** Points count from here on: what a start reaches proves nothing about an action. */
  readonly begin: () => void
  readonly at: (point: CrashPoint) => void
}

export function trap({ arm, log }: LifePlan): Trap {
  let begun = arm?.early === true
  let seen = 0
  return {
    begin: () => void (begun = true),
    at(point) {
      if (!begun) return
      // Written before anything else can happen, so that it outlives the process.
      appendFileSync(log, `${point}\n`)
      if (arm?.point !== point) return
      seen += 1
      if (seen === arm.nth) process.kill(process.pid, 'SIGKILL')
    },
  }
}
