/** What the child processes of the demo have in common. */
import { readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { CrashPoint } from '../src/testing/crash-points.ts'
import type { Registration } from './messages.ts'
import { type ChildPlan, REPORT_FD } from './plan.ts'

export const plan: ChildPlan = JSON.parse(process.argv[2] ?? '{}') as ChildPlan
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

export function openDatabase(name: string): DatabaseSync {
  return new DatabaseSync(join(plan.folder, name), { timeout: 5000 })
}

export function readCommands(): Registration[] {
  return JSON.parse(readFileSync(join(plan.folder, 'commands.json'), 'utf8')) as Registration[]
}

/** Ends with the parent, even when that was killed: then the pipe to it closes. */
export function endWithParent(): void {
  process.stdin.once('end', () => process.exit(0)).resume()
}
