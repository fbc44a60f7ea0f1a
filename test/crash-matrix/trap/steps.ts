/** The moments of a crash: counts them, and kills this process at the one that it was told. */
import { writeFileSync } from 'node:fs'
import type { Step } from '../plan.ts'

const { steps, proof } = JSON.parse(process.env['CRASH_MATRIX_TRAP'] ?? '') as {
  steps: readonly Step[]
  proof: string
}
let current = 0
let seen = 0
/** Of the broker, for a reset. */
export const connections = new Set<{ readonly stream: { destroy(error: Error): void } }>()

export function at(moment: string): void {
  const step = steps[current]
  if (step?.moment !== moment) return
  seen += 1
  if (seen < (step.nth ?? 1)) return
  current += 1
  seen = 0
  if (step.do === 'reset')
    for (const { stream } of connections) stream.destroy(new Error('read ECONNRESET'))
  else if (step.do === 'term') process.kill(process.pid, 'SIGTERM')
  else if (current === steps.length) {
    writeFileSync(proof, JSON.stringify({ pid: process.pid, moment }))
    process.kill(process.pid, 'SIGKILL')
  }
}
;(globalThis as { crashMatrixAt?: (moment: string) => void }).crashMatrixAt = at
process.on('SIGTERM', () => void setImmediate(() => at('stop asked')))

/** Whether this moment is the next one that counts. */
export const awaited = (moment: string): boolean => steps[current]?.moment === moment
