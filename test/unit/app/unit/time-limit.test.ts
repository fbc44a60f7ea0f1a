import { describe, expect, test } from 'vitest'
import { type TimeLimit, withTimeLimit } from '../../../../src/app/unit/time-limit.ts'
import { linkAbort } from '../../../../src/lib/async/linked-abort.ts'
import { manualClock } from '../../../../src/testing/index.ts'

function scene(ms = 100) {
  const clock = manualClock()
  const limit: TimeLimit = { ms, clock, error: () => new Error(`longer than ${ms} ms`) }
  const ends: string[] = []
  /** Work that ends when it is told to. */
  const begin = (name: string) => {
    const link = linkAbort()
    const work = Promise.withResolvers<void>()
    const late: unknown[] = []
    const running = withTimeLimit(
      limit,
      link,
      () => work.promise,
      (error) => void late.push(error),
    )
    const ended = running.then(
      () => void ends.push(`${name} done`),
      (error: Error) => void ends.push(`${name}: ${error.message}`),
    )
    return { link, ended, late, finish: () => work.resolve(), fail: (e: Error) => work.reject(e) }
  }
  return { clock, begin, ends }
}

describe('time limits of the same length', () => {
  test('share one timer, and each ends exactly at its time', async () => {
    const { clock, begin, ends } = scene()
    begin('one')
    await clock.advance(40)
    const two = begin('two')
    begin('three')
    expect(clock.sleeping).toBe(1)
    await clock.advance(59)
    expect(ends).toEqual([])
    await clock.advance(1)
    expect(ends).toEqual(['one: longer than 100 ms'])
    two.finish()
    await two.ended
    await clock.advance(39)
    expect(ends).toEqual(['one: longer than 100 ms', 'two done'])
    await clock.advance(1)
    expect(ends.at(-1)).toBe('three: longer than 100 ms')
  })

  test('leave no timer behind when all of them were taken back', async () => {
    const { clock, begin } = scene()
    const all = [begin('one'), begin('two')]
    for (const each of all) each.finish()
    await Promise.all(all.map(({ ended }) => ended))
    expect(clock.sleeping).toBe(0)
    begin('three')
    expect(clock.sleeping).toBe(1)
  })

  test('end work that ignores them, and tell what it throws later', async () => {
    const { clock, begin, ends } = scene()
    const { link, ended, late, fail } = begin('deaf')
    await clock.advance(100)
    await ended
    expect(ends).toEqual(['deaf: longer than 100 ms'])
    expect(link.signal.aborted).toBe(true)
    fail(new Error('much later'))
    await clock.advance(0)
    expect(late).toMatchObject([{ message: 'much later' }])
  })
})
