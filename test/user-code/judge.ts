import type { Outcome } from './outcome.ts'
import type { Program, Step } from './program.ts'
import { isAlive, type Trace } from './trace.ts'

/** What is in the database of this program. */
export interface Found {
  readonly rows: ReadonlySet<string>
  readonly messages: ReadonlySet<string>
}

/** What is wrong, in words; empty if nothing is. */
export async function judge(
  program: Program,
  trace: Trace,
  outcome: Outcome,
  all: Found,
): Promise<string[]> {
  const separate: string[] = []
  for (const { tag, outcome: own } of trace.separate)
    separate.push(...judgeSeparate(tag, await own, all))
  const others = new Set(trace.separate.map(({ tag }) => tag))
  const without = (tags: ReadonlySet<string>): Set<string> =>
    new Set([...tags].filter((tag) => !others.has(tag)))
  const found = { rows: without(all.rows), messages: without(all.messages) }
  return [...separate, ...judgeOwn(program, trace, outcome, found)]
}

/** A transaction of somebody else has a row and a message if it was committed, or neither. */
function judgeSeparate(tag: string, { kind }: Outcome, { rows, messages }: Found): string[] {
  const there = [rows.has(tag), messages.has(tag)]
  return there.every((one) => one === (kind === 'committed'))
    ? []
    : [
        `P1: ${tag}, a transaction of its own, has ${kind}, its row and message: ${there.join(', ')}`,
      ]
}

function judgeOwn(program: Program, trace: Trace, outcome: Outcome, found: Found): string[] {
  // Keys that two programs lock in another order, one message at a time; and a connection that a
  // library gives back broken after a program has ended its transaction fails its next borrower,
  // who stores nothing.
  if (outcome.kind === 'failed' && /40P01|25P02|deadlock/.test(outcome.code))
    return failed(trace, outcome, found)
  const wrong = [
    ...trace.accepted.map((what) => `P3: ${what} was taken after the end`),
    ...trace.unrefused.map((text) => `P3: nobody refused '${text}'`),
  ]
  const clean = isClean(program.steps)
  if (outcome.kind === 'failed' && clean)
    wrong.push(`a program without a fault failed: ${outcome.code}`)
  // Most libraries call a COMMIT a success that the server has answered with ROLLBACK.
  const silent = program.road === 'within' && !clean && found.rows.size === 0
  if (outcome.kind === 'committed' && !(silent && found.messages.size === 0)) {
    if (trace.ended) wrong.push('P1: the transaction was ended by the program, and nobody says so')
    if (trace.givenUp) wrong.push('P13: it was given up, and committed all the same')
    const loose = trace.loose.filter(({ ours }) => ours).map(({ tag }) => tag)
    if (loose.length > 0) wrong.push(`P3: ${loose.join(', ')} was not awaited, and nobody says so`)
    const spoiled = trace.spoiled.filter(isAlive).map(({ tag }) => tag)
    if (spoiled.length > 0)
      wrong.push(`P3: the message of ${spoiled.join(', ')} was refused, and nobody says so`)
    compare(
      'row',
      trace.rows.filter(isAlive).map(({ tag }) => tag),
      found.rows,
      trace.hasty,
      wrong,
    )
    compare(
      'message',
      trace.messages.filter(isAlive).map(({ tag }) => tag),
      found.messages,
      trace.loose.map(({ tag }) => tag),
      wrong,
    )
  }
  return [...wrong, ...failed(trace, outcome, found)]
}

/** What is there although the transaction failed. */
function failed(trace: Trace, outcome: Outcome, found: Found): string[] {
  const wrong: string[] = []
  // What a program has committed by itself is there, whatever the bus says then; with what it
  // belongs to is not promised.
  if (outcome.kind === 'failed' && outcome.code !== 'MERSAL_COMMIT_UNKNOWN' && !trace.ended) {
    compare('row', [], found.rows, [], wrong)
    compare('message', [], found.messages, [], wrong)
  }
  return wrong
}

function compare(
  what: string,
  expected: readonly string[],
  found: ReadonlySet<string>,
  perhaps: readonly string[],
  wrong: string[],
): void {
  const missing = expected.filter((tag) => !found.has(tag))
  const wanted = new Set([...expected, ...perhaps])
  const more = [...found].filter((tag) => !wanted.has(tag))
  if (missing.length > 0)
    wrong.push(`P1: ${what} ${missing.join(', ')} is missing after the commit`)
  if (more.length > 0) wrong.push(`P1: ${what} ${more.join(', ')} should not exist`)
}

/** Whether nothing in it is a reason to fail. */
function isClean(steps: readonly Step[]): boolean {
  return steps.every((step) => {
    switch (step.kind) {
      case 'pair':
        return !step.forgets
      case 'row':
      case 'together':
      case 'separate':
      case 'late':
        return true
      case 'savepoint':
      case 'join':
        return isClean(step.steps)
      case 'spoiled':
      case 'beside':
      case 'swallow':
      case 'throw':
      case 'end':
      case 'outlive':
      case 'abort':
      case 'hasty':
      case 'slip':
        return false
      default:
        return step satisfies never
    }
  })
}
