import { describe, expect, test } from 'vitest'
import { crashPointList } from '../../src/testing/crash-points.ts'
import { testEveryCrashPoint } from './crash/matrix.ts'
import { type CrashRun, runCrash } from './crash/run.ts'

const ofRelay = crashPointList.filter(({ name }) => name.startsWith('R'))
// Only Linux tells which file a flush was for.
const linux = process.platform === 'linux'

describe.skipIf(!linux)(
  'P1 P2 P4 P5 P6 P13: when the power fails for all processes, nothing that was answered is lost',
  () => testEveryCrashPoint({ lane: 'express', power: true }),
)

describe.skipIf(!linux)(
  'P1 P2 P4 P5 P6 P13: with a relay of its own, when the power fails, nothing that was answered is lost',
  () => testEveryCrashPoint({ lane: 'relay', power: true }, ofRelay),
)

test.skipIf(!linux)(
  'the same checks notice answers that come before the flush',
  { timeout: 240_000 },
  async () => {
    const run: CrashRun = { lane: 'express', point: 'P6', nth: 9, bug: 'answer before flush' }
    let lost = 0
    for (let power = 1; power <= 8 && lost === 0; power += 1)
      lost = (await runCrash({ ...run, power })).lost
    expect(lost).toBeGreaterThan(0)
  },
)
