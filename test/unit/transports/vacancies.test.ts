import { describe, expect, test } from 'vitest'
import { Vacancies } from '../../../src/transports/rabbitmq/order/vacancies.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'

function fresh() {
  const clock = manualClock()
  const vacancies = new Vacancies(clock)
  vacancies.connected()
  return { clock, vacancies }
}

/** A process that has been reading for a while. */
function settled() {
  const one = fresh()
  one.vacancies.looked()
  return one
}

describe('a partition that nobody reads', () => {
  test('is taken at once by a process that begins', () => {
    expect(fresh().vacancies.mayTake('a')).toBe(true)
  })

  test('is taken by another process only when it has been free for a moment', async () => {
    const { clock, vacancies } = settled()
    expect(vacancies.mayTake('a')).toBe(false)
    await clock.advance(699)
    expect(vacancies.mayTake('a')).toBe(false)
    vacancies.taken('a')
    await clock.advance(1)
    expect(vacancies.mayTake('a')).toBe(false)
    await clock.advance(700)
    expect(vacancies.mayTake('a')).toBe(true)
  })

  test('is taken at once by the process that has lost it', () => {
    const { vacancies } = settled()
    vacancies.lost('a')
    vacancies.connected()
    expect([vacancies.mayTake('a'), vacancies.mayTake('b')]).toEqual([true, false])
    vacancies.took('a')
    expect(vacancies.mayTake('a')).toBe(false)
  })

  test('is left to others for longer after a lost connection, and not for ever', async () => {
    const { clock, vacancies } = settled()
    vacancies.connected()
    vacancies.mayTake('a')
    await clock.advance(3999)
    vacancies.looked()
    expect(vacancies.mayTake('a')).toBe(false)
    await clock.advance(1)
    vacancies.looked()
    expect(vacancies.mayTake('a')).toBe(true)
    vacancies.mayTake('b')
    await clock.advance(700)
    expect(vacancies.mayTake('b')).toBe(true)
  })
})
