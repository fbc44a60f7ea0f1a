import { systemClock } from '../../../lib/async/clock.ts'
import { sizeOf } from '../../shared/outcomes.ts'
import type { Place, StoredRecord } from '../connection/records.ts'
import { type Arrived, arrivedOf, numberOf } from '../publish/wire.ts'
import { decodeLedger, encodeLedger, type Ledger, LEDGER_OFFSETS } from './ledger.ts'

/** A message that was fetched and is not handled to its end. */
export interface Entry {
  readonly partition: Partition
  readonly offset: number
  readonly arrived: Arrived
  /** The key whose order is kept; undefined if it has none. */
  readonly key: string | undefined
  readonly bytes: number
  isInHand: boolean
  attempts: number
  due: number
  since: number | undefined
}

/** Fetched ahead, beside what waits for its time. */
const AHEAD = 200
const MOST_BYTES = 8 << 20
/** What a message takes here beside its body and headers. */
const ENTRY_BYTES = 512
/** In hand, or in its place waiting for a retry: what the metadata of an offset has room for. */
const MOST_MARKED = 128

/** One partition that this consumer has. */
export class Partition implements Place {
  readonly topic: string
  readonly partition: number
  /** The topic that its offsets belong to: one that is made anew begins with other ones. */
  readonly topicId: string
  readonly #lost = new AbortController()
  readonly #open = new Map<number, Entry>()
  #ledger: Ledger
  #bytes = 0
  /** Offset of what is fetched next. */
  next: number
  /** What this one has replaced, while handlers may be at work there. */
  #before: Partition | undefined
  /** Set when its topic is not the one that it was: somebody has to look. */
  isGone = false
  /** Set when it goes to another consumer: nothing more is handed out. */
  isLeaving = false
  /** There is something to commit. */
  isDirty = false
  /** This offset is noted for certain: whoever has the partition next begins there or behind. */
  committed: number
  /** Everything before this offset has been deleted. */
  purged = 0

  constructor(
    { topic, partition }: Place,
    topicId: string,
    offset: number,
    metadata: string | null,
  ) {
    this.topic = topic
    this.partition = partition
    this.topicId = topicId
    this.next = offset
    this.committed = offset
    this.#ledger = decodeLedger(offset, metadata)
  }

  /** Aborts when somebody else may have it. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  lose(reason: Error): void {
    this.#lost.abort(reason)
  }

  /** The first offset that is not done. */
  get base(): number {
    const [first] = this.#open.keys()
    return first ?? this.next
  }

  get metadata(): string {
    const marks = [...this.#open.values()]
      .filter(isMarked)
      .map((entry) => [entry.offset, entry] as const)
    return encodeLedger(
      this.topicId,
      this.base,
      this.next,
      (offset) => this.#open.has(offset),
      marks,
    )
  }

  get wantsMore(): boolean {
    if (this.isLeaving || this.lost.aborted) return false
    if (this.isGone) return true
    if (this.#bytes > MOST_BYTES) return false
    if (this.next - this.base >= LEDGER_OFFSETS - AHEAD) return false
    let ready = 0
    for (const entry of this.#open.values()) if (!entry.isInHand && entry.due === 0) ready++
    return ready < AHEAD
  }

  /** Takes what was fetched from `next` on. */
  add(records: readonly StoredRecord[], next: number): void {
    for (const record of records) {
      if (this.#ledger.done.has(record.offset)) continue
      const arrived = arrivedOf(record)
      const mark = this.#ledger.marks.get(record.offset)
      const entry: Entry = {
        partition: this,
        offset: record.offset,
        arrived,
        key: arrived.key?.toString('latin1'),
        bytes: sizeOf(arrived.envelope) + ENTRY_BYTES,
        isInHand: false,
        attempts: mark?.attempts ?? numberOf(arrived.own.attempts) ?? 0,
        due: mark?.due ?? numberOf(arrived.own.due) ?? 0,
        since: mark?.since ?? numberOf(arrived.own.since),
      }
      this.#bytes += entry.bytes
      this.#open.set(record.offset, entry)
    }
    this.next = next
    if (records.length === 0 && this.#open.size === 0) this.isDirty = true
  }

  /**
   * What takes its place if its offsets say nothing any more. It is another one, so that what is
   * under way for this one, a handler or an answer of a broker, cannot touch it.
   */
  anew(topicId: string, offset: number): Partition {
    const other = new Partition(this, topicId, offset, null)
    other.isDirty = true
    other.#before = this
    return other
  }

  done(entry: Entry): void {
    if (!this.#open.delete(entry.offset)) return
    this.#bytes -= entry.bytes
    this.isDirty = true
  }

  /** What may be handed out at this time, in order; of a key only the first that is open. */
  *due(now: number): Generator<Entry> {
    if (this.isLeaving || this.lost.aborted) return
    const keys = this.#keysBefore()
    let room = MOST_MARKED - this.#marked
    const { base } = this
    for (const entry of this.#open.values()) {
      // Of what lies behind the window nothing can be noted, and one batch may be longer than that.
      if (room <= 0 || entry.offset - base >= LEDGER_OFFSETS) return
      const isBehind = entry.key !== undefined && keys.has(entry.key)
      if (entry.key !== undefined) keys.add(entry.key)
      if (isBehind || entry.isInHand || entry.due > now) continue
      if (!isMarked(entry)) room--
      yield entry
    }
  }

  /** When the next one is due that waits for its time. */
  nextDue(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const { due, isInHand } of this.#open.values())
      if (!isInHand && due > now) next = Math.min(next, due)
    return next
  }

  get inHand(): number {
    let count = 0
    for (const { isInHand } of this.#open.values()) if (isInHand) count++
    return count
  }

  /** Keys of which a handler is at work in what this one has replaced: they wait for it. */
  #keysBefore(): Set<string> {
    const before = this.#before
    if (before === undefined) return new Set()
    const keys = before.#keysBefore()
    for (const { isInHand, key } of before.#open.values())
      if (isInHand && key !== undefined) keys.add(key)
    if (keys.size === 0) this.#before = undefined
    return keys
  }

  get #marked(): number {
    let count = 0
    for (const entry of this.#open.values()) if (isMarked(entry)) count++
    return count
  }
}

/** At most this many that may be handed out now, from each partition in turn. */
export function chosenFrom(partitions: Iterable<Partition>, most: number): readonly Entry[] {
  const now = systemClock.now()
  const chosen: Entry[] = []
  let sources = [...partitions].map((partition) => partition.due(now))
  while (chosen.length < most && sources.length > 0) {
    sources = sources.filter((source) => {
      const { value, done } = source.next()
      if (done !== true && chosen.length < most) chosen.push(value)
      return done !== true
    })
  }
  return chosen
}

/** It is about to be handed out, which counts. */
export function take(entry: Entry): void {
  entry.isInHand = true
  entry.attempts++
  entry.partition.isDirty = true
}

/** It was not handed out after all. */
export function giveBack(entry: Entry): void {
  entry.isInHand = false
  entry.attempts--
  entry.partition.isDirty = true
}

/** Whether more is known of it than its own headers tell. */
function isMarked({ attempts, due, since, arrived: { own } }: Entry): boolean {
  return (
    attempts !== (numberOf(own.attempts) ?? 0) ||
    due !== (numberOf(own.due) ?? 0) ||
    since !== numberOf(own.since)
  )
}
