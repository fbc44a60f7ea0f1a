import { describe, expect, test } from 'vitest'
import { bucketOf } from '../../../src/transports/shared/order/key-bucket.ts'
import { keyLanes } from '../../../src/transports/shared/order/key-lanes.ts'

describe('lanes of keys', () => {
  test('run the work of one key in turn, other keys and work without a key at once', async () => {
    const lanes = keyLanes()
    const log: string[] = []
    const first = Promise.withResolvers<void>()
    const work =
      (name: string, until: Promise<void> = Promise.resolve()) =>
      async () => {
        log.push(`begin ${name}`)
        await until
        log.push(`end ${name}`)
      }
    const a1 = lanes.run('a', work('a1', first.promise))
    const a2 = lanes.run('a', work('a2'))
    await Promise.all([lanes.run('b', work('b1')), lanes.run(undefined, work('none'))])
    expect(log).toEqual(['begin a1', 'begin b1', 'begin none', 'end b1', 'end none'])
    first.resolve()
    await Promise.all([a1, a2])
    expect(log.slice(5)).toEqual(['end a1', 'begin a2', 'end a2'])
    await lanes.run('a', work('a3'))
    expect(log.at(-1)).toBe('end a3')
  })
})

describe('the bucket of a key', () => {
  test('never changes', () => {
    const keys = ['', 'A-7', 'account-1', 'Müller', '🜁']
    expect(keys.map((key) => bucketOf(key, 16))).toEqual([11, 6, 12, 10, 10])
  })

  test('spreads keys evenly', () => {
    const counts = Array.from({ length: 16 }, () => 0)
    for (let number = 0; number < 16_000; number++) counts[bucketOf(`account-${number}`, 16)]!++
    expect(Math.min(...counts)).toBeGreaterThan(850)
    expect(Math.max(...counts)).toBeLessThan(1150)
  })
})
