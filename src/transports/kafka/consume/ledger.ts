/** What is noted of a message that has not been handled to its end. */
export interface Mark {
  /** Deliveries that count, the one that goes on included. */
  readonly attempts: number
  /** Not before this time, in milliseconds since the Unix epoch; 0: at once. */
  readonly due: number
  readonly since: number | undefined
}

/** What is known of a partition beyond the offset that is committed. */
export interface Ledger {
  /** The topic that all of it belongs to: Kafka commits by name, and names are used again. */
  readonly topicId: string | undefined
  /** Handled, out of their turn. */
  readonly done: ReadonlySet<number>
  readonly marks: ReadonlyMap<number, Mark>
}

/** Offsets behind the committed one that a ledger can tell of. */
export const LEDGER_OFFSETS = 2000
const VERSION = 'm1'
const BASE = 36

/**
 * The metadata of a committed offset. Kafka keeps at most 4096 bytes there. Behind the version: a
 * bit for each offset from the committed one on, set if it is done, as base64; then the marks; then
 * the id of the topic.
 */
export function encodeLedger(
  topicId: string,
  base: number,
  next: number,
  isOpen: (offset: number) => boolean,
  marks: Iterable<readonly [number, Mark]>,
): string {
  const bits = Buffer.alloc(Math.ceil(LEDGER_OFFSETS / 8))
  let last = -1
  for (let at = base; at < Math.min(next, base + LEDGER_OFFSETS); at++) {
    if (isOpen(at)) continue
    last = at - base
    bits[last >> 3] = (bits[last >> 3] as number) | (1 << (last & 7))
  }
  const done = bits.subarray(0, (last >> 3) + 1).toString('base64')
  const listed = [...marks].map(([offset, { attempts, due, since }]) =>
    [offset - base, attempts, due, since ?? 0]
      .map((value) => Math.ceil(value).toString(BASE))
      .join(':')
      .replace(/(?::0)+$/, ''),
  )
  return `${VERSION} ${done} ${listed.join(',')} ${topicId}`
}

/** What a foreign hand has written there counts as nothing. */
export function decodeLedger(base: number, text: string | null | undefined): Ledger {
  const [version, done = '', listed = '', topicId = ''] = (text ?? '').split(' ')
  const isOurs = version === VERSION
  const found = {
    topicId: isOurs && topicId !== '' ? topicId : undefined,
    done: new Set<number>(),
    marks: new Map<number, Mark>(),
  }
  if (!isOurs) return found
  const bits = Buffer.from(done, 'base64')
  for (let at = 0; at < bits.length * 8; at++)
    if (((bits[at >> 3] as number) & (1 << (at & 7))) !== 0) found.done.add(base + at)
  for (const one of listed.split(',')) {
    const [at, attempts = 0, due = 0, since = 0] = one
      .split(':')
      .map((value) => Number.parseInt(value, BASE))
    if (at === undefined || !Number.isSafeInteger(at)) continue
    found.marks.set(base + at, { attempts, due, since: since === 0 ? undefined : since })
  }
  return found
}
