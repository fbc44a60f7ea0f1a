import type { Wire } from './client.ts'
import type { Bound } from './wire.ts'

/** Statements that the server has prepared on this connection, by name. */
export type Prepared = Set<string>

/** To put more than this together costs more than to write it piece by piece. */
const MOST_JOINED_BYTES = 16 * 1024

/** Statements of ours in a flight, in front of a query or behind it, and how they are answered. */
export class Riders {
  /** Rows of those that return any, as text. */
  readonly rows: (readonly (string | null)[])[] = []
  /** Command tag of the last one that was answered, but for the bell. */
  tag = ''
  readonly #statements: readonly Bound[]
  readonly #prepared: Prepared
  readonly #bell: Bound | undefined
  #answered = 0

  /** `bell`: follows them. Whether it runs matters to nobody. */
  constructor(statements: readonly Bound[], prepared: Prepared, bell?: Bound) {
    this.#statements = statements
    this.#prepared = prepared
    this.#bell = bell
  }

  /** How many have not been answered, without the bell. */
  get left(): number {
    return Math.max(0, this.#statements.length - this.#answered)
  }

  /** What is not answered yet, or has failed, is the bell alone. */
  get rings(): boolean {
    return this.#bell !== undefined && this.left === 0
  }

  /** The server parses only what it does not know by its name. */
  write({ stream }: Wire): void {
    const pieces: Buffer[] = []
    let size = 0
    for (const { statement, bytes } of this.#all) {
      if (!this.#prepared.has(statement.name)) pieces.push(statement.parse)
      pieces.push(bytes)
      size += bytes.length
    }
    if (pieces.length === 1 || size > MOST_JOINED_BYTES)
      for (const piece of pieces) stream.write(piece)
    else stream.write(Buffer.concat(pieces))
  }

  row(fields: readonly (string | null)[]): void {
    if (this.#statements[this.#answered]?.statement.returns === true) this.rows.push(fields)
  }

  completed(tag: string): void {
    const { statement } = this.#all[this.#answered++] as Bound
    if (statement.name !== '') this.#prepared.add(statement.name)
    if (this.#answered <= this.#statements.length) this.tag = tag
  }

  get #all(): readonly Bound[] {
    return this.#bell === undefined ? this.#statements : [...this.#statements, this.#bell]
  }
}
