import type { OutgoingMessage } from '../../core/messages/message.ts'
import { PositionIndex } from './position-index.ts'

/** A committed row that is neither sent nor moved to the dead letters. */
export interface OutboxRow {
  readonly position: number
  readonly message: OutgoingMessage
  readonly addedAt: number
  /** Nobody may take it before; `Infinity` for a dead letter that holds back its key. */
  visibleAt: number
  /** Of whoever took it last, until it is given back. */
  token: string | undefined
  attempts: number
  /** Number of its dead letter, while it is one. */
  dead: number | undefined
  /** Open rows of the same key, in the order of positions. */
  previous: OutboxRow | undefined
  next: OutboxRow | undefined
}

/** What is known of a row before it is added; without a position it gets the next one. */
export type NewRow = Pick<OutboxRow, 'message' | 'visibleAt' | 'addedAt'> &
  Partial<Pick<OutboxRow, 'position' | 'token'>>

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

  /** Messages that were ever added. */
  get added(): number {
    return this.#positions
  }

  add({ position = this.nextPosition(), token, ...given }: NewRow): void {
    const links = { dead: undefined, previous: undefined, next: undefined }
    const row: OutboxRow = { ...given, position, token, attempts: 0, ...links }
    this.rows.set(row.position, row)
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
