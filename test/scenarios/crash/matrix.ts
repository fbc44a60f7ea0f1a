import { expect, test } from 'vitest'
import { type CrashPoint, crashPointList } from '../../../src/testing/crash-points.ts'
import { type CrashRun, runCrash } from './run.ts'

/** Runs of each point: `CRASH_RUNS=20` for a thorough look. */
const RUNS = Number(process.env['CRASH_RUNS'] ?? 2)

/**
 * R3 to R9 come once per batch, R4 and R6 only for batches of two: a relay of its own may take
 * everything in one, and a slow machine makes larger batches of the express lane. The others come
 * once per message or more.
 */
function nthOf(lane: CrashRun['lane'], point: CrashPoint, run: number): number {
  if (point === 'R4' || point === 'R6') return 1
  if (/^R[3-9]$/.test(point)) return lane === 'express' ? 1 + (run % 3) : 1
  return 1 + ((run * 7) % 20)
}

/** One test for each crash point. A run counts only if its crash happened: `runCrash` throws otherwise. */
export function testEveryCrashPoint(lane: CrashRun['lane']): void {
  test.for(crashPointList)('killed at $name: $meaning', { timeout: 30_000 * RUNS }, async ({ name: point }) => {
    for (let run = 0; run < RUNS; run += 1) {
      const nth = nthOf(lane, point, run)
      const findings = await runCrash({ lane, point, nth })
      const label = `${point} #${nth}`
      expect({ label, ...findings }).toMatchObject({ label, lost: 0, phantom: 0, duplicateEffects: 0, missingEffects: 0, inversions: 0 })
      // Once without a fault, and once more for the one crash.
      expect(findings.publishes, `${label}: publishes of one message`).toBeLessThanOrEqual(2)
    }
  })
}
