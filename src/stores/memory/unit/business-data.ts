import { MersalError } from '../../../core/errors/errors.ts'

interface Cell {
  /** Undefined once it was deleted. */
  readonly value: unknown
  /** Number of the commit that wrote it. */
  readonly version: number
}

/** What one transaction has read and written of the business data. */
export interface DataView {
  /** Commits up to this number are what the transaction sees. */
  readonly snapshot: number
  readonly read: Set<string>
  /** Key → value, or `DELETED`. */
  readonly written: Map<string, unknown>
  scanned: boolean
}

export const DELETED: unique symbol = Symbol('deleted')

function conflict(what: string): MersalError {
  return new MersalError(
    'MERSAL_STORE_CONFLICT',
    `another transaction has changed ${what} since this one began: nothing of this one is stored; run it again`,
  )
}

/**
 * Committed values by key. A transaction sees them as they were when it began, or fails with
 * `MERSAL_STORE_CONFLICT`.
 */
export class BusinessData {
  readonly #cells = new Map<string, Cell>()
  readonly #deleted = new Set<string>()
  #open = 0
  #version = 0

  begin(): DataView {
    this.#open++
    return { snapshot: this.#version, read: new Set(), written: new Map(), scanned: false }
  }

  end(): void {
    this.#open--
    if (this.#open > 0) return
    // Nobody is left who could need to know that these were deleted.
    for (const key of this.#deleted)
      if (this.#cells.get(key)?.value === undefined) this.#cells.delete(key)
    this.#deleted.clear()
  }

  get(view: DataView, key: string): unknown {
    if (view.written.has(key)) {
      const written = view.written.get(key)
      return written === DELETED ? undefined : written
    }
    view.read.add(key)
    this.#check(view, key)
    return this.#cells.get(key)?.value
  }

  entries(view: DataView, prefix: string): (readonly [string, unknown])[] {
    view.scanned = true
    if (this.#version > view.snapshot) throw conflict('the business data')
    const found = new Map<string, unknown>()
    for (const [key, cell] of this.#cells)
      if (cell.value !== undefined && key.startsWith(prefix)) found.set(key, cell.value)
    for (const [key, value] of view.written) {
      if (value === DELETED) found.delete(key)
      else if (key.startsWith(prefix)) found.set(key, value)
    }
    return [...found].sort(([left], [right]) => (left < right ? -1 : 1))
  }

  /** Throws unless everything that was read or written is still as the transaction saw it. */
  validate(view: DataView): void {
    if (view.scanned && this.#version > view.snapshot) throw conflict('the business data')
    for (const key of view.read) this.#check(view, key)
    for (const key of view.written.keys()) this.#check(view, key)
  }

  apply(view: DataView): void {
    if (view.written.size === 0) return
    const version = ++this.#version
    for (const [key, written] of view.written) {
      this.#cells.set(key, { value: written === DELETED ? undefined : written, version })
      if (written === DELETED) this.#deleted.add(key)
    }
  }

  #check(view: DataView, key: string): void {
    const cell = this.#cells.get(key)
    if (cell !== undefined && cell.version > view.snapshot) throw conflict(`'${key.slice(0, 100)}'`)
  }
}
