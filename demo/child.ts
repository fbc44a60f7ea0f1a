/** What the child processes of the demo have in common. */
import { readFileSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type Mersal, runUntilSignal } from '../src/index.ts'
import type { CrashPoint } from '../src/testing/crash-points.ts'
import type { Registration } from './messages.ts'
import { reasonOf } from './reason.ts'
import { type ChildPlan, PLAN_VARIABLE, REPORT_FD } from './plan.ts'

export const plan: ChildPlan = JSON.parse(process.env[PLAN_VARIABLE] ?? '{}') as ChildPlan
let reached = 0

/** Stands still at the planned point, so that the parent can kill this process exactly there. */
export function stopHere(point: CrashPoint): void {
  if (plan.stop?.point !== point) return
  reached += 1
  if (reached !== plan.stop.nth) return
  writeSync(REPORT_FD, '!')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20_000)
  process.exit(70) // nobody came: the parent is gone
}

export function readCommands(): Registration[] {
  return JSON.parse(readFileSync(plan.commands, 'utf8')) as Registration[]
}

/**
 * Ends with the parent, even when that was killed: then the pipe to it closes. `onLine` gets what
 * the parent writes.
 */
export function endWithParent(onLine: (line: string) => void = () => {}): void {
  createInterface({ input: process.stdin })
    .on('line', onLine)
    .once('close', () => process.exit(0))
}

/**
 * The whole life of a program that is an app; exits with 1 and one line if the app cannot start.
 */
export async function live(app: Pick<Mersal<never>, 'start' | 'stop'>): Promise<never> {
  try {
    process.exit(await runUntilSignal(app))
  } catch (error) {
    endBecause(error)
  }
}

/** One line instead of a stack: that a server is away is a part of the story. */
export function endBecause(error: unknown): never {
  process.stderr.write(`  ${reasonOf(error)}\n`)
  process.exit(1)
}
