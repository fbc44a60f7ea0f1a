import { expect, test } from 'vitest'
import type { ClaimedMessage } from '../../../src/core/outbox.ts'
import type { Logger } from '../../../src/core/telemetry.ts'
import { createReports } from '../../../src/outbox/reports.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'

interface Line {
  readonly fields: Readonly<Record<string, unknown>>
  readonly message: string
}

function writing(): { readonly lines: Line[]; readonly logger: Logger } {
  const lines: Line[] = []
  const note = (fields: Readonly<Record<string, unknown>>, message: string): void =>
    void lines.push({ fields, message })
  return { lines, logger: { debug: note, info: note, warn: note, error: note } }
}

const many = 10_000
const refusedBy = (n: number): ClaimedMessage =>
  ({
    message: { id: '1', type: 't', to: { transport: 'default', kind: 'queue', name: `q${n}` } },
    attempt: 1,
  }) as ClaimedMessage

test('an outage of ten thousand destinations writes a bounded number of lines each minute, with a count of what was left out', async () => {
  const clock = manualClock()
  const { lines, logger } = writing()
  const reports = createReports({ app: 'a', logger, clock })
  for (let n = 0; n < many; n++) reports.breaker(`default/queue/q${n}`, 'open', new Error('no'))
  expect(lines).toHaveLength(20)
  await clock.advance(60_000)
  // A probe that fails is no news, but the time to tell what was left out.
  reports.breaker('default/queue/q1', 'open', new Error('no'))
  expect(lines.slice(20)).toMatchObject([{ fields: { leftOut: many - 20, away: many } }])
  for (let n = 0; n < many; n++) reports.breaker(`default/queue/q${n}`, 'closed', undefined)
  expect(lines).toHaveLength(41)
  reports.close()
  expect(lines.slice(41)).toMatchObject([
    {
      fields: { leftOut: many - 20, away: 0 },
      message: expect.stringContaining('answer again') as string,
    },
  ])
})

test('ten thousand destinations that refuse messages write a bounded number of lines as well', async () => {
  const clock = manualClock()
  const { lines, logger } = writing()
  const reports = createReports({ app: 'a', logger, clock })
  const settlement = {
    kind: 'retry' as const,
    position: 1n,
    token: 't',
    delayMs: 1,
    error: new Error('no'),
  }
  for (let round = 0; round < 2; round++)
    for (let n = 0; n < many; n++) reports.refused(refusedBy(n), settlement)
  expect(lines).toHaveLength(20)
  await clock.advance(60_000)
  reports.refused(refusedBy(5), settlement)
  expect(lines.slice(20)).toMatchObject([
    { fields: { leftOut: many - 20 } },
    { fields: { to: 'default/queue/q5' } },
  ])
})

test('one destination is told of at once when it goes away and when it answers again', () => {
  const { lines, logger } = writing()
  const reports = createReports({ app: 'a', logger, clock: manualClock() })
  reports.breaker('default/queue/q', 'open', new Error('no'))
  reports.breaker('default/queue/q', 'closed', undefined)
  reports.close()
  expect(lines.map(({ message }) => message)).toEqual([
    expect.stringContaining('does not answer'),
    'the destination answers again',
  ])
})
