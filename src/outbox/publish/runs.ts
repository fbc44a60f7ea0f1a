import type { ClaimedMessage } from '../../core/outbox.ts'
import type { PublishOutcome } from '../../core/transport.ts'

/**
 * The rows of one key in one batch, in the order of their positions; or a single row without a key.
 */
export interface Run {
  /** Those before `next` are gone: their bytes must not stay as long as the last row of the run. */
  readonly rows: (ClaimedMessage | undefined)[]
  readonly keyed: boolean
  /** The first row that is not confirmed. */
  next: number
  /** Rows before this index are with the transport or further. */
  handed: number
  /** Answers that came, or wait for an earlier one; by index. */
  answers: (PublishOutcome | undefined)[] | undefined
  /** Handed rows without an answer. */
  unanswered: number
  /** Attempts of the row at `next` that ended without an answer. */
  failures: number
  /** The destination whose breaker waits for this row. */
  probe: string | undefined
  ended: boolean
  /** What is unanswered is with a transport that answers in the end, however long that takes. */
  patient: boolean
}

function createRun(row: ClaimedMessage, keyed: boolean): Run {
  return {
    rows: [row],
    keyed,
    next: 0,
    handed: 0,
    answers: undefined,
    unanswered: 0,
    failures: 0,
    probe: undefined,
    ended: false,
    patient: false,
  }
}

/** Splits a batch into its runs. */
export function toRuns(rows: readonly ClaimedMessage[]): Run[] {
  const runs: Run[] = []
  const byKey = new Map<string, Run>()
  for (const row of rows) {
    const key = row.message.partitionKey
    const known = key === undefined ? undefined : byKey.get(key)
    if (known !== undefined) {
      known.rows.push(row)
      continue
    }
    const run = createRun(row, key !== undefined)
    if (key !== undefined) byKey.set(key, run)
    runs.push(run)
  }
  return runs
}
