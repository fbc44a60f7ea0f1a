import type { QueueEntry } from './queue-entry.ts'

interface Line {
  head: QueueEntry
  /** In their order. */
  readonly behind: QueueEntry[]
}

/** Of each key the message whose turn it is, and those that wait behind it. */
export class KeyHeads {
  readonly #lines = new Map<string, Line>()
  /** How many wait behind others. */
  behind = 0

  /** Whether it is its turn; else it waits here, behind the others of its key. */
  admits(entry: QueueEntry): boolean {
    const { partitionKey: key } = entry
    if (key === undefined) return true
    const line = this.#lines.get(key)
    if (line?.head === entry) return true
    if (line === undefined) {
      this.#lines.set(key, { head: entry, behind: [] })
      return true
    }
    line.behind.push(entry)
    this.behind++
    return false
  }

  /** The next one of the key of an entry that is gone. */
  after(entry: QueueEntry): QueueEntry | undefined {
    const { partitionKey: key } = entry
    const line = key === undefined ? undefined : this.#lines.get(key)
    if (key === undefined || line?.head !== entry) return undefined
    const next = line.behind.shift()
    if (next === undefined) {
      this.#lines.delete(key)
      return undefined
    }
    line.head = next
    this.behind--
    return next
  }
}
