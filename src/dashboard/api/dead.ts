import type { DeadLetter } from '../../core/dead-letter.ts'
import { changeNamed, findLetter } from '../../operate/letters.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { problem } from '../http/problem.ts'
import { boxFields, boxOf, filterFields, searchOf } from './boxes.ts'
import { found, stretch, summary, whole } from './letters.ts'
import { type Call, limitField, numberOf, type Route, textOf } from './route.ts'
import { attemptSchema, flag, list, number, object, orNull, text, time } from './schemas.ts'

const MOST_ROWS = 200
const ROWS = 50
const MOST_KEYS = 1000
/** A broker that cannot look into the middle of a queue is asked no longer for one letter. */
const LONGEST_SEARCH_MS = 10_000

const letter = {
  key: text,
  direction: text,
  id: text,
  type: text,
  place: text,
  partitionKey: orNull(text),
  reason: text,
  attempts: number,
  diedAt: time,
  blocksKey: flag,
  maybePublished: flag,
  correlationId: orNull(text),
  error: text,
  bytes: number,
}

const after = {
  kind: 'text',
  text: 'Only those behind this one: `next` of the answer before.',
} as const

export const deadLetters: Route = {
  method: 'GET',
  path: 'dead',
  summary:
    'Dead letters, oldest first. One call looks at some thousands; `next` is null when there are no more.',
  fields: {
    ...boxFields,
    ...filterFields,
    after,
    limit: limitField(ROWS, MOST_ROWS),
  },
  answer: object({ letters: list(object(letter)), next: orNull(text), looked: number }),
  async run(call) {
    const box = await boxOf(call)
    const search = searchOf(call)
    const most = numberOf(call, 'limit') ?? ROWS
    const letters: object[] = []
    const { next = null, looked } = await stretch(box, {
      after: textOf(call, 'after'),
      judge(one) {
        if (found(one, search)) letters.push(summary(one))
        return { fate: 'keep', last: letters.length >= most }
      },
    })
    return { letters, next, looked }
  },
}

const body = object({ text: orNull(text), base64: orNull(text), cut: flag })

export const deadLetter: Route = {
  method: 'GET',
  path: 'dead/letter',
  summary: 'One dead letter with its causes. Its body and foreign headers need the right bodies.',
  fields: { ...boxFields, key: { kind: 'text', text: 'Its key.', required: true } },
  answer: object({
    ...letter,
    causes: list(text),
    stack: list(text),
    history: list(attemptSchema),
    headers: list(object({ name: text, value: orNull(text) })),
    withheld: flag,
    body: orNull(body),
  }),
  async run(call) {
    const box = await boxOf(call)
    const until = systemClock.monotonic() + LONGEST_SEARCH_MS
    let late = false
    const enough = (): boolean => (late = systemClock.monotonic() > until)
    const one = await findLetter(box, textOf(call, 'key') ?? '', enough)
    if (one === undefined && late)
      throw problem(503, 'too-deep', 'It is too far behind the first one: use `mersal dead show`.')
    if (one === undefined) throw problem(404, 'no-letter', 'It is no longer there.')
    return whole(one, call.rights.has('bodies'))
  },
}

const changing = {
  ...boxFields,
  ...filterFields,
  keys: { kind: 'texts', most: MOST_KEYS, text: 'These ones.' },
  all: { kind: 'flag', text: 'In place of keys: all that the filter lets through, in stretches.' },
  after: { ...after, text: 'With all: `next` of the answer before.' },
  most: {
    kind: 'number',
    most: Number.MAX_SAFE_INTEGER,
    text: 'With all: look at no more than this many, those that were there at the start.',
  },
} as const

const changed = object({ changed: number, asked: number, next: orNull(text), looked: number })

function change(fate: 'retry' | 'discard', words: string): Route {
  return {
    method: 'POST',
    path: `dead/${fate}`,
    summary: `${words} One call changes some thousands; go on with \`next\` until it is null.`,
    right: fate,
    fields: changing,
    answer: changed,
    run: (call) => (call.input['all'] === true ? changeAll(fate, call) : changeKeys(fate, call)),
  }
}

export const retryLetters: Route = change('retry', 'Puts dead letters back, with their ids.')
export const discardLetters: Route = change('discard', 'Removes dead letters for good.')

async function changeKeys(fate: 'retry' | 'discard', call: Call): Promise<object> {
  const keys = call.input['keys']
  if (!Array.isArray(keys) || keys.length === 0)
    throw problem(400, 'bad-input', "Give 'keys', or 'all'.")
  const done = await changeNamed(fate, await boxOf(call), keys as readonly string[])
  return { ...done, next: null, looked: done.asked }
}

async function changeAll(fate: 'retry' | 'discard', call: Call): Promise<object> {
  if (call.input['keys'] !== undefined)
    throw problem(400, 'bad-input', "Give either 'keys' or 'all'.")
  const box = await boxOf(call)
  const search = searchOf(call)
  const most = numberOf(call, 'most')
  let asked = 0
  let done = 0
  const { next = null, looked } = await stretch(box, {
    after: textOf(call, 'after'),
    ...(most === undefined ? {} : { most: Math.min(most, 5000) }),
    progress: (count) => (done = count),
    judge(one: DeadLetter) {
      const chosen = found(one, search)
      if (chosen) asked++
      return { fate: chosen ? fate : 'keep' }
    },
  })
  return { changed: done, asked, next, looked }
}
