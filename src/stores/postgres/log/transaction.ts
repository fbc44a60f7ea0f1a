import { MOST_LOGGED, type LogReader } from '../../../core/commit-log.ts'
import type { ClaimedMessage } from '../../../core/outbox.ts'
import { loggedRow } from './logged-rows.ts'
import type { Frame } from './pgoutput.ts'

/** Gathers the rows of one transaction after the other, and passes each transaction on as a whole. */
export interface Transactions {
  /** A promise: the next frame comes when it has resolved. */
  take(frame: Frame): Promise<void> | undefined
}

/** `now`: microseconds since 2000, not earlier than the clock of the server shows at this moment. */
export function transactions(reader: LogReader, now: () => bigint): Transactions {
  let rows: ClaimedMessage[] = []
  let bytes = 0
  let visibleAt = 0n
  let graceMs = 0
  let others = false

  function begin(): void {
    rows = []
    bytes = 0
    others = false
  }

  function add(frame: Extract<Frame, { kind: 'insert' }>): void {
    const logged = loggedRow(frame.row)
    if (logged === undefined || rows.length >= MOST_LOGGED.rows || bytes > MOST_LOGGED.bytes) {
      others = true
      return
    }
    const first = rows.length === 0
    visibleAt = first || logged.visibleAt < visibleAt ? logged.visibleAt : visibleAt
    graceMs = first ? logged.graceMs : Math.min(graceMs, logged.graceMs)
    rows.push(logged.row)
    bytes += logged.row.message.body.byteLength
  }

  function commit(): Promise<void> | undefined {
    // All of a transaction or nothing: what is left to the claims may be earlier in its key.
    if (others) reader.others()
    if (rows.length === 0) return undefined
    if (rows.length >= MOST_LOGGED.rows || bytes > MOST_LOGGED.bytes) return undefined
    const leftMs = Number(visibleAt - now()) / 1000
    return reader.committed({ rows, leftMs, graceMs })
  }

  return {
    take(frame) {
      switch (frame.kind) {
        case 'begin':
          begin()
          return undefined
        case 'insert':
          add(frame)
          return undefined
        case 'commit':
          return commit()
        case 'other':
          return undefined
        default:
          return frame satisfies never
      }
    },
  }
}
