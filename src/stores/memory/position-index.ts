const CHUNK = 1024

interface Chunk<Value> {
  readonly number: number
  readonly values: (Value | undefined)[]
  count: number
}

/**
 * Values by position, in the order of positions. Adding, finding and removing one costs the same
 * whatever the size, also when a low position comes late; memory follows what is inside.
 */
export class PositionIndex<Value> {
  readonly #byNumber = new Map<number, Chunk<Value>>()
  /** Sorted by number. */
  readonly #chunks: Chunk<Value>[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  get(position: number): Value | undefined {
    return this.#byNumber.get(Math.floor(position / CHUNK))?.values[position % CHUNK]
  }

  set(position: number, value: Value): void {
    const number = Math.floor(position / CHUNK)
    const chunk = this.#byNumber.get(number) ?? this.#addChunk(number)
    if (chunk.values[position % CHUNK] === undefined) {
      chunk.count++
      this.#size++
    }
    chunk.values[position % CHUNK] = value
  }

  delete(position: number): boolean {
    const chunk = this.#byNumber.get(Math.floor(position / CHUNK))
    if (chunk?.values[position % CHUNK] === undefined) return false
    chunk.values[position % CHUNK] = undefined
    chunk.count--
    this.#size--
    if (chunk.count === 0) this.#removeChunk(chunk)
    return true
  }

  /** From this position upwards. Nothing may be added or removed before the iteration ends. */
  *from(position: number): Generator<Value, void, undefined> {
    const first = this.#find(Math.floor(position / CHUNK))
    for (let index = first; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index] as Chunk<Value>
      const start = index === first && chunk.number * CHUNK < position ? position % CHUNK : 0
      for (let offset = start; offset < CHUNK; offset++) {
        const value = chunk.values[offset]
        if (value !== undefined) yield value
      }
    }
  }

  /** The highest position. */
  last(): number | undefined {
    const chunk = this.#chunks.at(-1)
    const offset = chunk?.values.findLastIndex((value) => value !== undefined)
    return chunk === undefined ? undefined : chunk.number * CHUNK + (offset ?? 0)
  }

  /** Index of the first chunk with at least this number. */
  #find(number: number): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#chunks[middle] as Chunk<Value>).number < number) low = middle + 1
      else high = middle
    }
    return low
  }

  #addChunk(number: number): Chunk<Value> {
    const chunk: Chunk<Value> = {
      number,
      values: Array.from<undefined>({ length: CHUNK }),
      count: 0,
    }
    this.#byNumber.set(number, chunk)
    this.#chunks.splice(this.#find(number), 0, chunk)
    return chunk
  }

  #removeChunk(chunk: Chunk<Value>): void {
    this.#byNumber.delete(chunk.number)
    this.#chunks.splice(this.#find(chunk.number), 1)
  }
}
