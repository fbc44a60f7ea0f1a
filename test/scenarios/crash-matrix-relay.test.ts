import { describe } from 'vitest'
import { testEveryCrashPoint } from './crash/matrix.ts'

describe('P1 P2 P4 P5 P6: with a relay of its own, a killed process loses, invents and repeats nothing', () => {
  testEveryCrashPoint({ lane: 'relay' })
})
