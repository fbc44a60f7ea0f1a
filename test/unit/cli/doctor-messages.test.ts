import { describe, expect, test } from 'vitest'
import { examineOutbox } from '../../../src/cli/doctor/doctor-messages.ts'

const nothing = { pending: 1, dead: 0, oldestDueMs: 0, due: 1, oldestMs: 0, kept: 0 }
const overview = (more: { readonly claimed: number; readonly waitingMs?: number }) => ({
  ...nothing,
  destinations: [],
  keys: [],
  ...more,
})

describe('the doctor', () => {
  test('says that no relay runs when a message has been due for long and nobody has any in hand', () => {
    expect(examineOutbox(overview({ claimed: 0, waitingMs: 42_400 }))).toEqual([
      {
        level: 'warning',
        subject: 'outbox',
        text: 'a message has been due for 42 s, and no relay has any in hand',
        remedy: expect.stringContaining('outbox.runRelay: false') as string,
      },
    ])
  })

  test.each([
    ['a relay is at work', { claimed: 1, waitingMs: 42_400 }],
    ['it is a short while', { claimed: 0, waitingMs: 29_999 }],
    ['the store cannot tell', { claimed: 0 }],
  ])('says nothing when %s', (_, given) => {
    expect(examineOutbox(overview(given))).toEqual([])
  })
})
