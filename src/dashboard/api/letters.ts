import { isUtf8 } from 'node:buffer'
import type { DeadLetter, DeadLetterBox, DeadLetterFate } from '../../core/dead-letter.ts'
import type { FailedAttempt } from '../../core/errors/attempts.ts'
import { headerNames } from '../../core/messages/message.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { withoutSecrets } from '../../lib/secrets.ts'
import { matches, walk } from '../../operate/letters.ts'
import type { Search } from './boxes.ts'

/** One call looks at no more of them, so that none takes long. */
const BUDGET = { letters: 5000, ms: 2000 }
/** The first of a body. */
const MOST_BODY_BYTES = 256 * 1024

export function found(letter: DeadLetter, { text, ...filter }: Search): boolean {
  if (!matches(letter, filter)) return false
  if (text === undefined) return true
  const { id, type, partitionKey = '', error, headers, place } = letter
  const texts = [id, type, partitionKey, error, place, headers[headerNames.correlationId] ?? '']
  return texts.some((one) => one.toLowerCase().includes(text))
}

export interface Stretch {
  /** Where to go on: behind this one, or if it is empty at the start. Undefined: it is done. */
  readonly next: string | undefined
  readonly looked: number
}

/**
 * Over a bounded stretch of the letters behind `after`. `judge` says what becomes of each, and
 * whether it was the last one wanted.
 */
export async function stretch(
  box: DeadLetterBox,
  {
    after,
    most = BUDGET.letters,
    judge,
    progress,
  }: {
    readonly after: string | undefined
    readonly most?: number
    readonly judge: (letter: DeadLetter) => {
      readonly fate: DeadLetterFate
      readonly last?: boolean
    }
    readonly progress?: (changed: number) => void
  },
): Promise<Stretch> {
  const until = systemClock.monotonic() + BUDGET.ms
  let looked = 0
  let next = ''
  let enough = false
  await walk(box, {
    after,
    ...(progress === undefined ? {} : { progress }),
    decide(letter) {
      if (enough || looked >= most || systemClock.monotonic() > until) {
        enough = true
        return 'stop'
      }
      looked++
      const { fate, last = false } = judge(letter)
      // Where one cannot look into the middle, what has gone cannot be found again.
      if (fate === 'keep' || box.pass === undefined) next = letter.key
      enough = last
      return fate
    },
  })
  return { next: enough ? next : undefined, looked }
}

/** A letter in a list: without body, headers and the whole of its error. */
export function summary(letter: DeadLetter): object {
  const { key, direction, id, type, place, partitionKey = null, reason, attempts, diedAt } = letter
  const { blocksKey, maybePublished, headers } = letter
  return {
    key,
    direction,
    id,
    type,
    place,
    partitionKey,
    reason,
    attempts,
    diedAt,
    blocksKey,
    maybePublished,
    correlationId: headers[headerNames.correlationId] ?? null,
    error: withoutSecrets(letter.error.split('\n')[0] ?? '')
      .slice(0, 200)
      .toWellFormed(),
    bytes: letter.withheldBytes ?? letter.body.byteLength,
  }
}

/** What became of each attempt. */
export function historyView(history: readonly FailedAttempt[]): readonly object[] {
  return history.map(({ attempt, at, code, error }) => ({
    attempt,
    at: Math.round(at),
    code: withoutSecrets(code),
    causes: causesIn(error),
  }))
}

const causesIn = (error: string): readonly string[] => withoutSecrets(error).split('; caused by ')

/** One letter with all that may be shown of it. */
export function whole(letter: DeadLetter, bodies: boolean): object {
  const lines = withoutSecrets(letter.error).split('\n')
  const isFrame = (line: string): boolean => /^\s+at /.test(line)
  return {
    ...summary(letter),
    causes: lines
      .filter((line) => !isFrame(line))
      .join('\n')
      .split('; caused by '),
    stack: lines.filter(isFrame).map((line) => line.trim()),
    history: historyView(letter.history),
    headers: Object.entries(letter.headers).map(([name, value]) => ({
      name,
      value: bodies || ours.has(name) ? value : null,
    })),
    withheld: letter.withheldBytes !== undefined,
    body: bodies && letter.withheldBytes === undefined ? bodyView(letter.body) : null,
  }
}

/** Headers that Mersal sets itself. Others may hold what is nobody's business. */
const ours: ReadonlySet<string> = new Set(
  Object.values(headerNames).filter((name) => name !== headerNames.baggage),
)

function bodyView(body: Uint8Array): object {
  const shown = Buffer.from(body.subarray(0, MOST_BODY_BYTES))
  const cut = body.byteLength > shown.byteLength
  const text = isUtf8(body)
  return {
    text: text ? shown.toString('utf8') : null,
    base64: text ? null : shown.toString('base64'),
    cut,
  }
}
