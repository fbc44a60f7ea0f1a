import { describe, expect, test } from 'vitest'
import { crashPointList } from '../../src/testing/crash-points.ts'
import { testEveryCrashPoint } from './crash/matrix.ts'
import { runCrash } from './crash/run.ts'

const pointsOfConsumer = crashPointList.filter(({ name }) => name.startsWith('C'))

describe('P1 P2 P4 P5 P6: with several messages in one transaction, a killed consumer loses, invents and repeats nothing', () => {
  testEveryCrashPoint({ lane: 'express', batch: 4 }, pointsOfConsumer)
})

test('the same checks notice a shared transaction without the inbox', async () => {
  const findings = await runCrash({
    lane: 'express',
    point: 'C7',
    nth: 3,
    bug: 'no inbox',
    batch: 4,
  })
  expect(findings.duplicateEffects).toBeGreaterThan(0)
})
