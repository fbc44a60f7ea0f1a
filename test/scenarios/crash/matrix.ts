import { expect, test } from 'vitest'
import { type CrashPoint, crashPointList } from '../../../src/testing/crash-points.ts'
import { type CrashRun, runCrash } from './run.ts'

interface Kind extends Pick<CrashRun, 'lane' | 'batch'> {
  /** The power fails, for all processes at once. */
  readonly power?: boolean
}

/**
 * Runs of each point: `CRASH_RUNS=20` for a thorough look. One is enough here, since the crash
 * matrix on PostgreSQL and RabbitMQ kills at the same points again.
 */
const RUNS = Number(process.env['CRASH_RUNS'] ?? 1)

/**
 * R3 to R9 come once per batch, R4 and R6 only for batches of two: a relay of its own may take
 * everything in one, and a slow machine makes larger batches of the express lane. The others come
 * once per message or more, but for those that come once per transaction of a handler.
 */
function nthOf({ lane, batch = 1 }: Kind, point: CrashPoint, run: number): number {
  if (batch > 1 && /^C[2356]$/.test(point)) return 1 + (run % 4)
  if (point === 'R4' || point === 'R6') return 1
  if (/^R[3-9]$/.test(point)) return lane === 'express' ? 1 + (run % 3) : 1
  return 1 + ((run * 7) % 20)
}

/**
 * One test for each crash point. A run counts only if its crash happened: `runCrash` throws
 * otherwise.
 */
export function testEveryCrashPoint(
  { power = false, ...kind }: Kind,
  points: readonly (typeof crashPointList)[number][] = crashPointList,
): void {
  test.for(points)(
    'killed at $name: $meaning',
    { timeout: 240_000 * RUNS },
    async ({ name: point }) => {
      // So that a single run kills now at an early and now at a late coming of the moment.
      const from = points.findIndex(({ name }) => name === point)
      for (let run = from; run < from + RUNS; run += 1) {
        const nth = nthOf(kind, point, run)
        const findings = await runCrash({ ...kind, point, nth, ...(power ? { power: run } : {}) })
        const label = `${point} #${nth}${power ? `, what is kept: ${run}` : ''}`
        expect({ label, ...findings }).toMatchObject({
          label,
          lost: 0,
          phantom: 0,
          duplicateEffects: 0,
          missingEffects: 0,
          inversions: 0,
        })
        if (kind.batch !== undefined) expect(findings.largestBatch, label).toBeGreaterThan(1)
        // Once without a fault, and once more for the one crash.
        expect(findings.publishes, `${label}: publishes of one message`).toBeLessThanOrEqual(2)
      }
    },
  )
}
