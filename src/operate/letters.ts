import type { DeadLetter, DeadLetterBox, DeadLetterFate } from '../core/dead-letter.ts'

/** Every condition that is given must hold. */
export interface LetterFilter {
  readonly type?: string | undefined
  readonly partitionKey?: string | undefined
  readonly place?: string | undefined
  readonly reason?: string | undefined
}

export function matches(letter: DeadLetter, filter: LetterFilter): boolean {
  return (['type', 'partitionKey', 'place', 'reason'] as const).every(
    (name) => filter[name] === undefined || letter[name] === filter[name],
  )
}

/**
 * Bodies come along, so a page is bounded by their size too, as far as the page before can tell.
 */
const PAGE = { first: 10, most: 100, bytes: 4 * 1024 * 1024 }

function nextSize(page: readonly DeadLetter[]): number {
  const bytes = page.reduce((sum, { body }) => sum + body.byteLength, 0) / page.length
  return Math.max(1, Math.min(PAGE.most, Math.floor(PAGE.bytes / Math.max(1, bytes))))
}

export interface Walk {
  readonly after?: string | undefined
  /** What becomes of each. */
  readonly decide: (letter: DeadLetter) => DeadLetterFate | Promise<DeadLetterFate>
  /** Told how many have been changed so far. */
  readonly progress?: (changed: number) => void
  /**
   * Most that are looked at: those that were there at the start. What is retried and dies
   * again is not retried for ever.
   */
  readonly most?: number
}

/**
 * Over the dead letters of a box once, oldest first, with a bounded part of them in memory, and
 * changes them on the way.
 */
export async function walk(
  box: DeadLetterBox,
  { after, decide, progress = () => {}, most = Infinity }: Walk,
): Promise<void> {
  if (box.pass !== undefined) {
    let begun = after === undefined
    const each = (letter: DeadLetter): DeadLetterFate | Promise<DeadLetterFate> => {
      if (begun) return decide(letter)
      begun = letter.key === after
      return 'keep'
    }
    return await box.pass({ decide: each, progress })
  }
  let changed = 0
  let left = most
  let size = PAGE.first
  for (let last = after; left > 0; ) {
    const page = await box.list({
      limit: Math.min(size, left),
      ...(last === undefined ? {} : { after: last }),
    })
    const { retry, discard, stop } = await judge(page, decide)
    if (retry.length > 0) changed += await box.retry(retry)
    if (discard.length > 0) changed += await box.discard(discard)
    if (retry.length + discard.length > 0) progress(changed)
    // A page may hold fewer if they are large, so only an empty one is the end.
    last = page.at(-1)?.key
    if (stop || last === undefined) return
    left -= page.length
    size = nextSize(page)
  }
}

async function judge(
  page: readonly DeadLetter[],
  decide: Walk['decide'],
): Promise<{ readonly retry: string[]; readonly discard: string[]; readonly stop: boolean }> {
  const keys: Record<'retry' | 'discard', string[]> = { retry: [], discard: [] }
  for (const letter of page) {
    const fate = await decide(letter)
    if (fate === 'stop') return { ...keys, stop: true }
    if (fate !== 'keep') keys[fate].push(letter.key)
  }
  return { ...keys, stop: false }
}

export async function countLetters(
  box: DeadLetterBox,
  filter: LetterFilter,
): Promise<{ readonly all: number; readonly matching: number }> {
  let all = 0
  let matching = 0
  await walk(box, {
    decide(letter) {
      all++
      if (matches(letter, filter)) matching++
      return 'keep'
    },
  })
  return { all, matching }
}

export interface Changed {
  readonly changed: number
  readonly asked: number
}

/**
 * Retries or discards those that the filter lets through, in parts, so that a long run can be
 * broken off and repeated.
 */
export async function changeLetters(
  fate: 'retry' | 'discard',
  box: DeadLetterBox,
  {
    filter,
    progress,
  }: { readonly filter: LetterFilter; readonly progress: (done: number) => void },
): Promise<Changed> {
  let changed = 0
  let asked = 0
  const most = box.pass === undefined ? (await countLetters(box, {})).all : undefined
  await walk(box, {
    ...(most === undefined ? {} : { most }),
    decide(letter) {
      if (!matches(letter, filter)) return 'keep'
      asked++
      return fate
    },
    progress: (done) => progress((changed = done)),
  })
  return { changed, asked }
}

/** Those of these keys that are there. */
export async function changeNamed(
  fate: 'retry' | 'discard',
  box: DeadLetterBox,
  keys: readonly string[],
): Promise<Changed> {
  const asked = [...new Set(keys)]
  let changed = 0
  for (let start = 0; start < asked.length; start += PAGE.most)
    changed += await box[fate](asked.slice(start, start + PAGE.most))
  return { changed, asked: asked.length }
}

/**
 * One letter by its key. `enough`: asked before each one that is looked at in vain; true gives up.
 */
export async function findLetter(
  box: DeadLetterBox,
  key: string,
  enough: () => boolean = () => false,
): Promise<DeadLetter | undefined> {
  // Most keys are numbers in order: then the one before leads to it at once.
  const before = box.pass === undefined ? keyBefore(key) : undefined
  const [guess] = before === undefined ? [] : await box.list({ limit: 1, after: before })
  if (guess?.key === key) return guess
  const found: DeadLetter[] = []
  await walk(box, {
    decide(letter) {
      if (letter.key !== key) return enough() ? 'stop' : 'keep'
      found.push(letter)
      return 'stop'
    },
  })
  return found[0]
}

/** The number before, also that of a part: `12`, `12.3`. */
function keyBefore(key: string): string | undefined {
  const [, whole = '', last = ''] = /^(\d{1,15}\.)?(\d{1,15})$/.exec(key) ?? []
  if (Number(last) > 0) return `${whole}${Number(last) - 1}`
  return whole === '' ? undefined : whole.slice(0, -1)
}
