import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'

/** What became of a row, to be recorded. */
export interface Entry {
  readonly row: ClaimedMessage
  readonly settlement: Settlement
  /** End of the claim (monotonic). */
  readonly keepUntil: number
  /** Later rows of its key may have waited for this one. */
  readonly unblocks: boolean
  /** May wait this many milliseconds for others to go along. Default 0. */
  readonly lingerMs?: number | undefined
  /** Called once the storage has recorded it. */
  readonly done?: (() => void) | undefined
}
