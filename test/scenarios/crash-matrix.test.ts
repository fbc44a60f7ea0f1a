import { describe, expect, test } from 'vitest'
import { type CrashPoint, crashPointList } from '../../src/testing/crash-points.ts'
import { type CrashRun, runCrash } from './crash/run.ts'

/** Runs of each point in each lane: `CRASH_RUNS=20` for a thorough look. */
const RUNS = Number(process.env['CRASH_RUNS'] ?? 2)
/** A relay reaches its points once per batch, and there are few batches; everything else happens once per message. */
const oncePerBatch = new Set<CrashPoint>(['R3', 'R4', 'R5', 'R6', 'R7', 'R8', 'R9'])

function nthOf(point: CrashPoint, run: number): number {
  return oncePerBatch.has(point) ? 1 + (run % 2) : 1 + ((run * 7) % 20)
}

const lanes: readonly CrashRun['lane'][] = ['express', 'relay']
const cases = lanes.flatMap((lane) => crashPointList.map(({ name, meaning }) => ({ lane, point: name, meaning })))

describe.concurrent('a process that is killed loses nothing, invents nothing and does nothing twice', () => {
  test.for(cases)('P1 P2 P4 P5 P6: killed at $point ($meaning), lane: $lane', { timeout: 30_000 * RUNS }, async ({ lane, point }) => {
    for (let run = 0; run < RUNS; run += 1) {
      const nth = nthOf(point, run)
      const findings = await runCrash({ lane, point, nth })
      const label = `${lane} ${point} #${nth}`
      expect({ label, ...findings }).toMatchObject({ label, lost: 0, phantom: 0, duplicateEffects: 0, missingEffects: 0, inversions: 0 })
      expect(findings.publishes, `${label}: publishes of one message`).toBeLessThanOrEqual(2)
    }
  })
})

describe.concurrent('the same checks notice a bus with a bug', () => {
  test('without the inbox, a crash before the acknowledgement repeats an effect', async () => {
    expect((await runCrash({ lane: 'express', point: 'C7', nth: 3, bug: 'no inbox' })).duplicateEffects).toBeGreaterThan(0)
  })

  test('publishing before the commit makes phantoms', async () => {
    expect((await runCrash({ lane: 'express', point: 'P4', nth: 5, bug: 'publish before commit' })).phantom).toBeGreaterThan(0)
  })

  test('publishing after the commit without an outbox loses messages', async () => {
    expect((await runCrash({ lane: 'express', point: 'P6', nth: 5, bug: 'publish after commit without outbox' })).lost).toBeGreaterThan(0)
  })

  test('a run whose crash never happens is no proof', async () => {
    await expect(runCrash({ lane: 'express', point: 'P1', nth: 1000 })).rejects.toThrow('invalid run')
  })
})
