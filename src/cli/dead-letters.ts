import type { DeadLetter, DeadLetterBox } from '../core/dead-letter.ts'

/** Every condition that is given must hold. */
export interface LetterFilter {
  readonly type?: string | undefined
  readonly partitionKey?: string | undefined
  readonly place?: string | undefined
  readonly reason?: string | undefined
}

function matches(letter: DeadLetter, filter: LetterFilter): boolean {
  return (['type', 'partitionKey', 'place', 'reason'] as const).every((name) => filter[name] === undefined || letter[name] === filter[name])
}

/** Bodies come along. A page may hold fewer if they are large, so that only an empty one is the end. */
const PAGE = 100

/** The dead letters of a box, oldest first, page by page. */
export async function* allLetters(box: DeadLetterBox, filter: LetterFilter, after: string | undefined): AsyncGenerator<DeadLetter> {
  for (let last = after; ; ) {
    const page = await box.list({ limit: PAGE, ...(last === undefined ? {} : { after: last }) })
    for (const letter of page) if (matches(letter, filter)) yield letter
    last = page.at(-1)?.key
    if (last === undefined) return
  }
}

interface Change {
  /** Undefined: every one that the filter lets through. */
  readonly keys: readonly string[] | undefined
  readonly filter: LetterFilter
  readonly progress: (done: number) => void
}

/** Retries or discards in parts, the oldest first, so that a long run can be broken off and repeated. */
export async function changeLetters(
  verb: 'retry' | 'discard',
  box: DeadLetterBox,
  { keys, filter, progress }: Change,
): Promise<{ changed: number; asked: number }> {
  // Collected first: what was retried may come back as a new dead letter, and must not be retried for ever.
  const asked = keys === undefined ? await keysOf(box, filter) : [...new Set(keys)]
  let changed = 0
  for (let start = 0; start < asked.length; start += PAGE) {
    changed += await box[verb](asked.slice(start, start + PAGE))
    progress(Math.min(start + PAGE, asked.length))
  }
  return { changed, asked: asked.length }
}

async function keysOf(box: DeadLetterBox, filter: LetterFilter): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of allLetters(box, filter, undefined)) keys.push(key)
  return keys
}
