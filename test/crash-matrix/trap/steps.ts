/** The moments of a crash: counts them, and kills this process at the one that it was told. */
import { writeFileSync } from 'node:fs'
import type { Step } from '../plan.ts'

const { steps, proof } = JSON.parse(process.env['CRASH_MATRIX_TRAP'] ?? '') as {
  steps: readonly Step[]
  proof: string
}
let current = 0
let seen = 0
interface Connection {
  readonly stream: { destroy(error: Error): void }
}

/** Of the broker, for a reset. */
export const connections = new Set<Connection>()
/** Those that read the log of the database, for a cut. */
export const readers = new Set<Connection>()

const cut = (some: ReadonlySet<Connection>): void => {
  for (const { stream } of some) stream.destroy(new Error('read ECONNRESET'))
}

/** Whether this moment is the next one that counts. `logged`: of a message that the log told of. */
export function awaited(moment: string, logged = false): boolean {
  const step = steps[current]
  return step?.moment === moment && (logged || step.logged !== true)
}

export function at(moment: string, logged = false): void {
  const step = steps[current]
  if (step === undefined || !awaited(moment, logged)) return
  seen += 1
  if (seen < (step.nth ?? 1)) return
  current += 1
  seen = 0
  if (step.do === 'reset') cut(connections)
  else if (step.do === 'cut') cut(readers)
  else if (step.do === 'term') process.kill(process.pid, 'SIGTERM')
  else if (current === steps.length) {
    writeFileSync(proof, JSON.stringify({ pid: process.pid, moment }))
    process.kill(process.pid, 'SIGKILL')
  }
}
;(globalThis as { crashMatrixAt?: (moment: string) => void }).crashMatrixAt = (moment) => at(moment)
process.on('SIGTERM', () => void setImmediate(() => at('stop asked')))
