import { describe, expect, test } from 'vitest'
import type {
  Member,
  SharedFailure,
  SharedProgress,
} from '../../../../../src/app/receive/shared/shared-transaction.ts'
import { verdicts } from '../../../../../src/app/receive/shared/verdicts.ts'
import { MersalError } from '../../../../../src/core/errors/errors.ts'
import { manualClock } from '../../../../../src/testing/index.ts'

/** A message that was part of so many shared transactions that were undone. */
const member = (undone = 0): Member<object> => {
  const reception = {
    sharing: { undone, alone: false },
    signal: new AbortController().signal,
  } as unknown as Member<object>['reception']
  return { reception, within: (work) => work() }
}

const ports = { clock: manualClock(), receive: { handlerTimeoutMs: 1000 } }
const error = new Error('it failed')
const handling = (index: number, beganAt = 0): SharedProgress => ({
  stage: 'handling',
  index,
  beganAt,
  ended: Promise.resolve(),
})

const failure = (given: Partial<SharedFailure<object>>): SharedFailure<object> => ({
  kind: 'failed',
  error,
  progress: { stage: 'committing' },
  over: false,
  committedByHandler: false,
  called: new Set(),
  givenUpAt: undefined,
  ...given,
})

/** For each message: `failed`, `alone`, or `together` once more. */
function judged(members: readonly Member<object>[], given: Partial<SharedFailure<object>>) {
  return verdicts(ports, members, failure(given)).map((verdict) =>
    verdict.kind === 'repeat' ? (verdict.sharing.alone ? 'alone' : 'together') : verdict.kind,
  )
}

describe('the verdicts on messages whose shared transaction failed', () => {
  const three = [member(), member(), member()]

  test.each<[string, Partial<SharedFailure<object>>, string[]]>([
    ['it could not be opened', { progress: { stage: 'opening' } }, ['failed', 'failed', 'failed']],
    ['the inbox failed', { progress: { stage: 'recording' } }, ['alone', 'alone', 'alone']],
    ['the commit failed', { progress: { stage: 'committing' } }, ['alone', 'alone', 'alone']],
    ['a handler failed', { progress: handling(1) }, ['together', 'alone', 'together']],
    ['a handler ended it', { progress: handling(1), over: true }, ['alone', 'alone', 'alone']],
  ])('when %s', (_, given, expected) => {
    expect(judged(three, given)).toEqual(expected)
  })

  test('after a second failure each is handled alone', () => {
    expect(judged([member(1), member(0), member(1)], { progress: handling(1) })).toEqual([
      'alone',
      'alone',
      'alone',
    ])
  })

  test('a handler that committed fails those before it and itself, and nobody behind it', () => {
    const called = new Set(three.slice(0, 2))
    const given = { progress: handling(1), committedByHandler: true, called }
    expect(judged(three, given)).toEqual(['failed', 'failed', 'alone'])
    expect(verdicts(ports, three, failure(given))[0]).toMatchObject({
      error: { code: 'MERSAL_TRANSACTION_ENDED', cause: error },
    })
  })

  test('a time limit is the fault of a handler that had nine tenths of the time to itself', () => {
    const late = new MersalError('MERSAL_HANDLER_TIMEOUT', 'too late')
    const given = { error: late, progress: handling(1, 100), givenUpAt: 1000 }
    expect(judged(three, given)).toEqual(['alone', 'failed', 'alone'])
    expect(judged(three, { ...given, progress: handling(1, 101) })).toEqual([
      'alone',
      'alone',
      'alone',
    ])
  })

  test('a handler that was given up without fault is called again only when it has ended', async () => {
    const ended = Promise.withResolvers<void>()
    const late = new MersalError('MERSAL_HANDLER_TIMEOUT', 'too late')
    const progress: SharedProgress = {
      stage: 'handling',
      index: 0,
      beganAt: 900,
      ended: ended.promise,
    }
    const [first, second] = verdicts(
      ports,
      three,
      failure({ error: late, progress, givenUpAt: 1000 }),
    )
    let waited = false
    const after = first?.kind === 'repeat' ? first.after?.then(() => (waited = true)) : undefined
    await ports.clock.advance(500)
    expect(waited).toBe(false)
    ended.resolve()
    await after
    expect(waited).toBe(true)
    expect(second).toMatchObject({ kind: 'repeat', after: undefined })
  })
})
