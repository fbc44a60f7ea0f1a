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

/** A row that is not gone. */
export function rowAt(run: Run, index: number): ClaimedMessage {
  return run.rows[index] as ClaimedMessage
}

/** `count` rows from `next` on go to their transport now. */
export function handedOver(run: Run, count: number, patient: boolean): void {
  run.handed = run.next + count
  run.unanswered = count
  run.patient = patient
}

/**
 * Notes an answer. Returns it if it is the only one that this run waits for; else it waits with
 * the others for its turn, see `dueAnswer`.
 */
export function noteAnswer(
  run: Run,
  index: number,
  outcome: PublishOutcome,
): PublishOutcome | undefined {
  run.unanswered--
  if (run.unanswered === 0 && index === run.next && run.handed === run.next + 1) return outcome
  run.answers ??= []
  run.answers[index] = outcome
  return undefined
}

/** The answer for the row at `next`, if it may be dealt with. */
export function dueAnswer(run: Run): PublishOutcome | undefined {
  if (run.ended || run.next >= run.handed) return undefined
  const answer = run.answers?.[run.next]
  // Published again only when nothing of this run is under way any more.
  return answer?.kind === 'unknown' && run.unanswered > 0 ? undefined : answer
}

/** The row at `next` is confirmed. Returns whether it was the last one. */
export function passNext(run: Run): boolean {
  run.rows[run.next] = undefined
  run.next++
  run.failures = 0
  run.ended = run.next === run.rows.length
  return run.ended
}

/** As `passNext`, for a row that was never handed over. */
export function skipNext(run: Run): boolean {
  run.handed = run.next + 1
  return passNext(run)
}

/** Everything from `next` on is to be handed over again. */
export function rewind(run: Run): void {
  run.failures++
  run.answers = undefined
  run.handed = run.next
}

/** The first row from `next` on without an answer; `handed` if there is none. */
export function firstUnanswered(run: Run): number {
  if (run.answers === undefined) return run.next
  let index = run.next
  while (index < run.handed && run.answers[index] !== undefined) index++
  return index
}
