import { describe, expect, test } from 'vitest'
import { testEveryCrashPoint } from './crash/matrix.ts'
import { runCrash } from './crash/run.ts'

describe('P1 P2 P4 P5 P6: with the express lane, a killed process loses, invents and repeats nothing', () => {
  testEveryCrashPoint({ lane: 'express' })
})

describe('the same checks notice a bus with a bug', () => {
  test('without the inbox, a crash before the acknowledgement repeats an effect', async () => {
    expect(
      (await runCrash({ lane: 'express', point: 'C7', nth: 3, bug: 'no inbox' })).duplicateEffects,
    ).toBeGreaterThan(0)
  })

  test('publishing before the commit makes phantoms', async () => {
    expect(
      (await runCrash({ lane: 'express', point: 'P4', nth: 5, bug: 'publish before commit' }))
        .phantom,
    ).toBeGreaterThan(0)
  })

  test('publishing after the commit without an outbox loses messages', async () => {
    expect(
      (
        await runCrash({
          lane: 'express',
          point: 'P6',
          nth: 5,
          bug: 'publish after commit without outbox',
        })
      ).lost,
    ).toBeGreaterThan(0)
  })

  test('a run whose crash never happens is no proof', async () => {
    await expect(runCrash({ lane: 'express', point: 'P1', nth: 1000 })).rejects.toThrow(
      'invalid run',
    )
  })
})
