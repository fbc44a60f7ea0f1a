import type { OutgoingMessage } from '../../core/messages/message.ts'
import { PositionIndex } from './position-index.ts'

/** A committed row that is neither sent nor moved to the dead letters. */
export interface OutboxRow {
  readonly position: number
  readonly message: OutgoingMessage
  readonly addedAt: number
  /** When the delay of its sender ends; undefined without one. */
  readonly dueAt: number | undefined
  /** Nobody may take it before; `Infinity` for a dead letter that holds back its key. */
  visibleAt: number
  /** Of whoever took it last, until it is given back. */
  token: string | undefined
  attempts: number
  /** What is noted of its attempts; undefined while none has failed. */
  history: string | undefined
  /** A relay has had it in hand. */
  taken: boolean
  /** An open transaction is about to remove it. */
  leaving: boolean
  /** Number of its dead letter, while it is one. */
  dead: number | undefined
  /** Open rows of the same key, in the order of positions. */
  previous: OutboxRow | undefined
  next: OutboxRow | undefined
}

/** What is known of a row before it is added; without a position it gets the next one. */
export type NewRow = Pick<OutboxRow, 'message' | 'visibleAt' | 'addedAt'> &
  Partial<Pick<OutboxRow, 'position' | 'token' | 'dueAt'>>

interface Chain {
  first: OutboxRow
  last: OutboxRow
}

export interface KeptRow {
  readonly position: number
  readonly message: OutgoingMessage
  readonly addedAt: number
  readonly sentAt: number
}

/** The table of open rows, in the order of positions and in a chain per partition key. */
export class OutboxTable {
  readonly rows: PositionIndex<OutboxRow> = new PositionIndex()
  /** Sent rows that are kept for a while, oldest first. */
  readonly kept: KeptRow[] = []
  /** Rows with a delay, in the order of their times. */
  readonly #delayed: OutboxRow[] = []
  readonly #chains = new Map<string, Chain>()
  #positions = 0

  /** Like a sequence: never given twice, and not given back by a rollback. */
  nextPosition(): number {
    return ++this.#positions
  }

  hasOpenRow(key: string): boolean {
    return this.#chains.has(key)
  }

  /** The open rows of these keys, in the order of their positions. */
  ofKeys(keys: readonly string[]): OutboxRow[] {
    const found: OutboxRow[] = []
    for (const key of new Set(keys))
      for (let row = this.#chains.get(key)?.first; row !== undefined; row = row.next)
        found.push(row)
    return found.sort((left, right) => left.position - right.position)
  }

  /** The open rows at these positions, in their order. */
  at(positions: readonly bigint[]): OutboxRow[] {
    const sorted = [...new Set(positions)].sort((left, right) => (left < right ? -1 : 1))
    return sorted.flatMap((position) => this.rows.get(Number(position)) ?? [])
  }

  /** Rows whose delay ends after this time, those that end first. */
  delayedAfter(time: number, limit: number): readonly OutboxRow[] {
    const first = this.#placeOf(time)
    return this.#delayed.slice(first, first + limit)
  }

  /** The delayed rows of this message. */
  delayedOf(id: string): readonly OutboxRow[] {
    return this.#delayed.filter(({ message }) => message.id === id)
  }

  /** The index of the first delayed row that is due after this time. */
  #placeOf(time: number): number {
    let [low, high] = [0, this.#delayed.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#delayed[middle]?.dueAt ?? 0) > time) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Messages that were ever added. */
  get added(): number {
    return this.#positions
  }

  add({ position = this.nextPosition(), token, dueAt, ...given }: NewRow): void {
    const fresh = { attempts: 0, history: undefined, taken: false, leaving: false, dead: undefined }
    const links = { previous: undefined, next: undefined }
    const row: OutboxRow = { ...given, position, token, dueAt, ...fresh, ...links }
    this.rows.set(row.position, row)
    if (dueAt !== undefined) this.#delayed.splice(this.#placeOf(dueAt), 0, row)
    const key = row.message.partitionKey
    if (key === undefined) return
    const chain = this.#chains.get(key)
    if (chain === undefined) {
      this.#chains.set(key, { first: row, last: row })
      return
    }
    // The lock of the key is held from before the position is drawn until now: later rows come
    // later.
    row.previous = chain.last
    chain.last.next = row
    chain.last = row
  }

  remove(row: OutboxRow): void {
    this.rows.delete(row.position)
    if (row.dueAt !== undefined)
      this.#delayed.splice(this.#delayed.lastIndexOf(row, this.#placeOf(row.dueAt)), 1)
    const key = row.message.partitionKey
    const chain = key === undefined ? undefined : this.#chains.get(key)
    if (key === undefined || chain === undefined) return
    if (row.previous === undefined && row.next === undefined) {
      this.#chains.delete(key)
      return
    }
    if (row.previous === undefined) chain.first = row.next as OutboxRow
    else row.previous.next = row.next
    if (row.next === undefined) chain.last = row.previous as OutboxRow
    else row.next.previous = row.previous
    row.previous = undefined
    row.next = undefined
  }
}
