import type { Clock } from '../../lib/async/clock.ts'

export interface ConfirmBookPorts<Key, Entry> {
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>
  /** The first look comes this long after an entry, in milliseconds. */
  readonly firstLookMs: number
  /**
   * Milliseconds that this entry may still go on without an answer. Asked in the order of writing;
   * what stands behind an entry that may go on is not asked about.
   */
  readonly restMs: (key: Key, entry: Entry, now: number) => number
  /**
   * Its time is up, so it is answered now. `keep`: it stays on record as late, since its answer may
   * still come; `forget`: it is taken out.
   */
  readonly onLate: (key: Key, entry: Entry) => 'keep' | 'forget'
  /** A look has ended. */
  readonly onLooked?: () => void
}

/**
 * A record of our own of what was written to a broker and has no answer yet, in the order of
 * writing. Client libraries may lose confirms, so each entry has a time limit.
 */
export interface ConfirmBook<Key, Entry> {
  /** Entries on record, late ones included. */
  readonly size: number
  /** Nobody waits for an answer: nothing is on record, or only what is late. */
  readonly idle: boolean
  enter(key: Key, entry: Entry): void
  /** Takes an entry out, because its answer has come. */
  take(key: Key): Entry | undefined
  /** In the order of writing. */
  entries(): IterableIterator<[Key, Entry]>
  /** Ends the looks. What is on record stays, for whoever closes the book to answer. */
  close(): void
}

export function confirmBook<Key, Entry>({
  clock,
  firstLookMs,
  restMs,
  onLate,
  onLooked = () => {},
}: ConfirmBookPorts<Key, Entry>): ConfirmBook<Key, Entry> {
  const open = new Map<Key, Entry>()
  const late = new Set<Key>()
  const closing = new AbortController()
  let waiting = false

  async function lookAfter(ms: number): Promise<void> {
    waiting = true
    await clock.sleep(ms, closing.signal)
    waiting = false
    if (closing.signal.aborted) return
    const rest = look()
    if (rest !== undefined && !waiting) void lookAfter(Math.ceil(rest))
    onLooked()
  }

  /** How long the first one that is not late may still wait; undefined if there is none. */
  function look(): number | undefined {
    const now = clock.monotonic()
    for (const [key, entry] of open) {
      if (late.has(key)) continue
      const rest = restMs(key, entry, now)
      if (rest > 0) return rest
      if (onLate(key, entry) === 'keep') late.add(key)
      else open.delete(key)
    }
    return undefined
  }

  return {
    get size() {
      return open.size
    },
    get idle() {
      return open.size === late.size
    },
    enter(key, entry) {
      open.set(key, entry)
      if (!waiting) void lookAfter(firstLookMs)
    },
    take(key) {
      const entry = open.get(key)
      if (entry === undefined) return undefined
      open.delete(key)
      late.delete(key)
      return entry
    },
    entries: () => open.entries(),
    close: () => closing.abort(),
  }
}
