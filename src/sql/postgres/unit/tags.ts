/**
 * Follows what the server says that it has done in one unit, whoever had asked for it: so nobody
 * ends the transaction unnoticed.
 */
export class Tags {
  #begun = 0
  #rollbacks = 0
  #over = false
  #watching = true

  /** The server has ended the transaction, or has begun another one. */
  get ended(): boolean {
    return this.#over
  }

  note(tag: string): void {
    if (!this.#watching) return
    // Of all tags only these begin so.
    if (tag.startsWith('BEGIN') || tag.startsWith('START')) this.#over ||= ++this.#begun > 1
    else if (tag.startsWith('ROLLBACK')) this.#over ||= --this.#rollbacks < 0
    else if (tag.startsWith('COMMIT') || tag.startsWith('PREPARE T')) this.#over = true
  }

  /** A rollback to a savepoint is on its way, whose tag is that of any rollback. */
  rollsBack(): void {
    this.#rollbacks++
  }

  /** What comes now is the end of the unit itself. */
  stop(): void {
    this.#watching = false
  }
}
