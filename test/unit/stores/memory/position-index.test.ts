import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { PositionIndex } from '../../../../src/stores/memory/position-index.ts'

const position = fc.oneof(fc.nat({ max: 30 }), fc.nat({ max: 5000 }), fc.nat({ max: 3_000_000 }))
const steps = fc.array(fc.tuple(fc.constantFrom('set', 'set', 'delete', 'from'), position), {
  maxLength: 200,
})

test('it behaves like a sorted map', () => {
  fc.assert(
    fc.property(steps, (commands) => {
      const index = new PositionIndex<string>()
      const model = new Map<number, string>()
      for (const [command, at] of commands) {
        if (command === 'set') {
          index.set(at, `${at}`)
          model.set(at, `${at}`)
        } else if (command === 'delete') {
          expect(index.delete(at)).toBe(model.delete(at))
        } else {
          const expected = [...model]
            .filter(([key]) => key >= at)
            .sort(([left], [right]) => left - right)
          expect([...index.from(at)]).toEqual(expected.map(([, value]) => value))
        }
        expect(index.size).toBe(model.size)
        expect(index.get(at)).toBe(model.get(at))
      }
    }),
  )
})

test('a scan may be left early', () => {
  const index = new PositionIndex<number>()
  for (let at = 0; at < 5000; at++) index.set(at, at)
  for (const value of index.from(4000)) {
    expect(value).toBe(4000)
    break
  }
  expect(index.size).toBe(5000)
})
