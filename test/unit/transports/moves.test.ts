import { describe, expect, test } from 'vitest'
import { manualClock } from '../../../src/testing/manual-clock.ts'
import { type Move, move, type MoveResult } from '../../../src/transports/shared/moves.ts'

interface Step extends Move {
  readonly to: string
}

const moved: MoveResult = { kind: 'moved' }
const failed: MoveResult = { kind: 'failed', error: new Error('away'), refused: false }
const refused: MoveResult = { kind: 'failed', error: new Error('full'), refused: true }

/** Moves with these results of the tries, then `moved`. */
function trial(step: Partial<Step>, ...results: readonly MoveResult[]) {
  const clock = manualClock()
  const [lost, stopping] = [new AbortController(), new AbortController()]
  const left = [...results]
  const tries: string[] = []
  const ending = move<Step>({
    next: (aside) =>
      aside ? { to: 'aside', dead: false } : { to: 'target', dead: false, ...step },
    attempt: async ({ to }) => {
      tries.push(`${to} ${clock.monotonic()}`)
      return left.shift() ?? moved
    },
    failed: () => {},
    lost: lost.signal,
    stopping: stopping.signal,
    clock,
    random: () => 1,
  })
  return { clock, lost, stopping, tries, ending }
}

describe('a move', () => {
  test('P2: is tried until the copy is safe, with a growing pause', async () => {
    const { clock, tries, ending } = trial({}, failed, failed, failed)
    await clock.advance(10_000)
    expect(await ending).toEqual({ kind: 'moved' })
    expect(tries).toEqual(['target 0', 'target 250', 'target 750', 'target 1750'])
  })

  test('P8: what the dead letters refuse twice is set aside at once', async () => {
    const { clock, tries, ending } = trial({ dead: true }, refused, refused)
    await clock.advance(10_000)
    expect(await ending).toEqual({ kind: 'moved' })
    expect(tries).toEqual(['target 0', 'target 250', 'aside 250'])
  })

  test('dead letters that are away are no refusal', async () => {
    const { clock, tries, ending } = trial({ dead: true }, failed, failed, failed)
    await clock.advance(10_000)
    await ending
    expect(tries.every((one) => one.startsWith('target'))).toBe(true)
  })

  test('one that is tried once is given back, and so is every one when the consumer stops', async () => {
    expect(await trial({ once: true }, failed).ending).toEqual({ kind: 'give-back' })
    const { clock, stopping, ending } = trial({}, failed, failed)
    await clock.advance(100)
    stopping.abort()
    expect(await ending).toEqual({ kind: 'give-back' })
  })

  test('ends when the message is lost, and when it can never be copied', async () => {
    const { clock, lost, ending } = trial({}, failed, failed)
    await clock.advance(100)
    lost.abort()
    expect(await ending).toEqual({ kind: 'lost' })
    expect(await trial({}, { kind: 'impossible' }).ending).toEqual({
      kind: 'impossible',
      step: { to: 'target', dead: false },
    })
  })
})
