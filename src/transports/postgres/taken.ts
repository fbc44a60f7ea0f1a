/** A row as a fetch answers it. */
export interface TakenRow {
  readonly position: string
  readonly attempts: number
  readonly id: string
  readonly type: string
  readonly headers: string
  readonly body: Uint8Array
  readonly bytes: string
  /** Set if headers and body were not read, because the row is too large. */
  readonly withheld_bytes: string | null
}

export interface Bounds {
  readonly limit: number
  readonly token: string
  readonly bytes: number
}

export interface Taken {
  readonly rows: readonly TakenRow[]
  /** There may be more that is due: hands or bytes came to their end before the queue did. */
  readonly more: boolean
}

/** As the statement counts them: what was not read costs nothing. */
export function bytesOf(rows: readonly TakenRow[]): number {
  return rows.reduce((sum, row) => sum + (row.withheld_bytes === null ? Number(row.bytes) : 0), 0)
}
