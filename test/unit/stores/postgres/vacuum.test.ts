import { describe, expect, test } from 'vitest'
import type { Clock } from '../../../../src/lib/async/clock.ts'
import type { Own, Query } from '../../../../src/sql/postgres/pool/pool.ts'
import { vacuum } from '../../../../src/stores/postgres/vacuum.ts'
import { collecting } from '../../../postgres/queue-harness.ts'

const ROWS = 1000

/** A server whose vacuum ends when the test says so. */
function scene({ allowed = true, rows = ROWS, in_vain = [] as boolean[] } = {}) {
  let now = 0
  const statements: string[] = []
  const waiting: PromiseWithResolvers<unknown>[] = []
  const within = (_ms: number, text: string): Promise<unknown> => {
    statements.push(text)
    const answer = Promise.withResolvers<unknown>()
    waiting.push(answer)
    return answer.promise
  }
  const query = Object.assign(
    (text: string) => {
      const row = text.includes('in_vain') ? { in_vain: in_vain.shift() ?? false } : { allowed }
      return Promise.resolve({ rows: [row], rowCount: 1, command: '' })
    },
    { within },
  )
  const connection: Own['connection'] = (work) => work(query as unknown as Query, {} as never)
  const clock: Clock = { now: () => now, monotonic: () => now, sleep: () => Promise.resolve() }
  const { logger, warnings } = collecting()
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return {
    vacuum: vacuum({ own: { connection } as Own, schema: 'mersal', clock, logger, rows }),
    warnings,
    statements,
    settled,
    pass: (ms: number): void => void (now += ms),
    end: async (ms: number): Promise<void> => {
      now += ms
      waiting.shift()?.resolve(undefined)
      await settled()
    },
    fail: async (ms: number): Promise<void> => {
      now += ms
      waiting.shift()?.reject(new Error('canceling statement due to statement timeout'))
      await settled()
    },
  }
}

describe('vacuuming the outbox', () => {
  test('begins when enough rows were deleted, and not before', async () => {
    const { vacuum, statements, settled } = scene()
    vacuum.deleted(ROWS - 1)
    await settled()
    expect(statements).toEqual([])
    vacuum.deleted(1)
    await settled()
    expect(statements).toEqual(['vacuum (skip_locked, parallel 0, truncate off) "mersal".outbox'])
  })

  test('never runs twice at a time, and counts what comes meanwhile for the next one', async () => {
    const { vacuum, statements, settled, pass, end } = scene()
    vacuum.deleted(ROWS)
    await settled()
    vacuum.deleted(ROWS)
    await settled()
    expect(statements).toHaveLength(1)
    await end(10)
    pass(1000)
    vacuum.deleted(0)
    await settled()
    expect(statements).toHaveLength(2)
  })

  test('rests nine times as long as it took, however many rows are deleted', async () => {
    const { vacuum, statements, settled, pass, end } = scene()
    vacuum.deleted(ROWS)
    await settled()
    await end(1000)
    pass(8999)
    vacuum.deleted(10 * ROWS)
    await settled()
    expect(statements).toHaveLength(1)
    pass(1)
    vacuum.deleted(1)
    await settled()
    expect(statements).toHaveLength(2)
  })

  test('takes fewer rows when nothing is due, and gives pages back only after many', async () => {
    const { vacuum, statements, settled, pass, end } = scene()
    vacuum.deleted(ROWS / 100 - 1)
    vacuum.idle()
    await settled()
    expect(statements).toEqual([])
    vacuum.deleted(1)
    vacuum.idle()
    await settled()
    await end(1)
    vacuum.deleted(ROWS - 1)
    pass(1000)
    vacuum.idle()
    await settled()
    expect(statements.map((text) => /truncate \w+/.exec(text)?.[0])).toEqual([
      'truncate off',
      'truncate on',
    ])
  })

  test('gives pages back, too, when the last rows were deleted just before a vacuum that keeps them', async () => {
    const { vacuum, statements, settled, pass, end } = scene()
    vacuum.deleted(ROWS)
    await settled()
    await end(1)
    pass(1000)
    vacuum.idle()
    await settled()
    expect(statements[1]).toContain('truncate on')
    await end(1)
    pass(1000)
    vacuum.idle()
    await settled()
    expect(statements).toHaveLength(2)
  })

  test('tries again, less and less often, when pages could not be given back', async () => {
    const { vacuum, statements, settled, pass, end } = scene({ in_vain: [true, true, false] })
    vacuum.deleted(ROWS - 1)
    vacuum.deleted(0)
    await settled()
    expect(statements).toEqual([])
    vacuum.deleted(1)
    await settled()
    await end(1)
    for (const restMs of [1000, 2000, 4000]) {
      const before = statements.length
      pass(restMs - 1)
      vacuum.idle()
      await settled()
      expect(statements, `rests for ${restMs} ms`).toHaveLength(before)
      pass(1)
      vacuum.idle()
      await settled()
      expect(statements).toHaveLength(before + 1)
      await end(1)
    }
    pass(600_000)
    vacuum.idle()
    await settled()
    expect(statements).toHaveLength(4)
  })

  test('that fails warns once, and is tried again after a minute', async () => {
    const { vacuum, statements, warnings, settled, pass, fail } = scene()
    for (let time = 0; time < 2; time++) {
      vacuum.deleted(ROWS)
      await settled()
      await fail(10)
      pass(59_999)
      vacuum.deleted(ROWS)
      await settled()
      expect(statements).toHaveLength(time + 1)
      pass(1)
    }
    expect(warnings).toHaveLength(1)
  })

  test('is left to the server where the role may not, or the option says so', async () => {
    for (const options of [{ allowed: false }, { rows: 0 }]) {
      const { vacuum, statements, warnings, settled } = scene(options)
      vacuum.deleted(10 * ROWS)
      vacuum.idle()
      await settled()
      expect([statements, warnings]).toEqual([[], []])
    }
  })

  test('keeps nobody waiting who closes', async () => {
    const { vacuum, statements, settled, warnings } = scene()
    vacuum.deleted(ROWS)
    await settled()
    await vacuum[Symbol.asyncDispose]()
    vacuum.deleted(ROWS)
    await settled()
    expect(statements).toHaveLength(1)
    expect(warnings).toEqual([])
  })
})
