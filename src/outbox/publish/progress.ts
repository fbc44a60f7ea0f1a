import { destinationKey } from '../../core/messages/message.ts'
import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import { emit } from '../../core/telemetry.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Environment } from '../environment.ts'
import type { MessageGate } from '../limits/hold-backs.ts'
import type { RelaySettings } from '../options.ts'
import type { Reports } from '../reports.ts'
import { settlementOf, tooLarge } from '../settle/settle-policy.ts'
import type { Settler } from '../settle/settler.ts'
import type { Unanswered } from '../settle/unanswered.ts'
import { isWithdrawn, noAnswer } from './answers.ts'
import type { Batch, Ending } from './batch.ts'
import {
  dueAnswer,
  firstUnanswered,
  noteAnswer,
  passNext,
  rewind,
  type Run,
  rowAt,
} from './runs.ts'

/** Moves runs from answer to answer until each of their rows has a settlement. */
export interface Progress {
  /** Hands the next rows of the run over, or ends it. */
  goOn(batch: Batch, run: Run): void
  answered(batch: Batch, run: Run, index: number, outcome: PublishOutcome): void
  /** Ends the run: what is not confirmed is given back. */
  giveBack(batch: Batch, run: Run): void
  /** The claim is over and the transport still owes answers: counts as no answer. */
  expire(batch: Batch): void
}

export interface ProgressPorts {
  readonly environment: Environment
  readonly settings: RelaySettings
  readonly gate: MessageGate
  readonly settler: Pick<Settler, 'add'>
  readonly unanswered: Unanswered
  readonly reports: Pick<Reports, 'dead' | 'refused'>
  readonly ending: Readonly<Ending>
  /** Hands the next rows of a run over; false: they may not go now. */
  readonly hand: (batch: Batch, run: Run) => boolean
  /** Every row of the batch has its settlement. */
  readonly onFinished: (batch: Batch) => void
}

/** Waiting time before a message without an answer is published again under the same claim. */
const AGAIN = { firstMs: 100, longestMs: 2000 }

export function createProgress(ports: ProgressPorts): Progress {
  const { gate, settings, settler, unanswered, ending } = ports
  const { app, clock, random } = ports.environment

  function goOn(batch: Batch, run: Run): void {
    const { message, withheldBytes } = rowAt(run, run.next)
    if (ending.closed || clock.monotonic() >= batch.terms.publishUntil) return end(batch, run)
    if (withheldBytes !== undefined && !gate.isPaused(message))
      return deal(batch, run, tooLarge(withheldBytes))
    if (!ports.hand(batch, run)) end(batch, run)
  }

  function answered(batch: Batch, run: Run, index: number, outcome: PublishOutcome): void {
    if (run.ended || ending.halted) return
    account(run, rowAt(run, index), outcome)
    const only = noteAnswer(run, index, outcome)
    if (only !== undefined) return deal(batch, run, only)
    let due = dueAnswer(run)
    while (due !== undefined) {
      const { next } = run
      deal(batch, run, due)
      due = run.next === next ? undefined : dueAnswer(run)
    }
  }

  /** What the outcome says about the destination, and to whoever listens. */
  function account(
    run: Run,
    { message, position, attempt }: ClaimedMessage,
    outcome: PublishOutcome,
  ): void {
    emit('mersal:publish', () => ({
      app,
      id: message.id,
      to: destinationKey(message.to),
      outcome: outcome.kind,
      attempt,
    }))
    if (outcome.kind === 'unknown') unanswered.note(position, clock.monotonic())
    if (isWithdrawn(outcome)) return
    gate.answered(message, outcome, run.probe !== undefined)
    run.probe = undefined
  }

  /** Deals with the answer for the row at `next`. */
  function deal(batch: Batch, run: Run, outcome: PublishOutcome): void {
    const row = rowAt(run, run.next)
    if (outcome.kind === 'confirmed') return confirmed(batch, run, row)
    if (isWithdrawn(outcome)) return end(batch, run)
    if (outcome.kind === 'unknown' && mayGoAgain(batch, row)) return again(batch, run)
    end(batch, run, settlementFor(batch, row, outcome))
  }

  function settlementFor(batch: Batch, row: ClaimedMessage, outcome: PublishOutcome): Settlement {
    const last = unanswered.last(row.position)
    const settlement = settlementOf(row, outcome, {
      settings,
      random,
      express: batch.terms.express,
      unansweredForMs: last === undefined ? undefined : clock.monotonic() - last,
    })
    if (settlement.kind === 'dead') unanswered.forget(row.position)
    if (settlement.kind === 'retry') ports.reports.refused(row, settlement)
    return settlement
  }

  function confirmed(batch: Batch, run: Run, row: ClaimedMessage): void {
    const { position, token } = row
    unanswered.forget(position)
    const over = passNext(run)
    settle(batch, row, { kind: 'sent', position, token }, over && run.keyed)
    if (over) finish(batch, run)
    else if (run.next === run.handed) goOn(batch, run)
  }

  /** Ends a run: what `first` says about the row at `next`, and the later ones are given back. */
  function end(batch: Batch, run: Run, first?: Settlement): void {
    run.ended = true
    if (run.probe !== undefined) gate.abandoned(run.probe)
    run.probe = undefined
    for (let index = run.next; index < run.rows.length; index++) {
      const row = rowAt(run, index)
      const { position, token } = row
      const given = index === run.next ? first : undefined
      settle(batch, row, given ?? { kind: 'release', position, token }, false)
    }
    finish(batch, run)
  }

  function settle(
    batch: Batch,
    row: ClaimedMessage,
    settlement: Settlement,
    unblocks: boolean,
  ): void {
    const { express, keepUntil } = batch.terms
    const lingers = express && settlement.kind === 'sent' && !ending.closed
    const done = settlement.kind === 'dead' ? () => ports.reports.dead(row, settlement) : undefined
    settler.add({ row, settlement, keepUntil, unblocks, lingers, done })
  }

  function finish(batch: Batch, run: Run): void {
    batch.runs.delete(run)
    if (batch.runs.size > 0) return
    ports.onFinished(batch)
    if (batch.pausing) batch.controller.abort()
  }

  function mayGoAgain(batch: Batch, { message }: ClaimedMessage): boolean {
    if (ending.closed || batch.terms.express || clock.monotonic() >= batch.againUntil) return false
    return gate.isReachable(message)
  }

  /** Publishes the run again, with the same ids, after a pause that all of the batch share. */
  function again(batch: Batch, run: Run): void {
    rewind(run)
    batch.later.push(run)
    if (!batch.pausing) void resume(batch, backoffMs(AGAIN, run.failures, random))
  }

  async function resume(batch: Batch, pauseMs: number): Promise<void> {
    batch.pausing = true
    await clock.sleep(pauseMs, batch.controller.signal)
    batch.pausing = false
    if (ending.halted) return
    for (const run of batch.later.splice(0)) if (!run.ended) goOn(batch, run)
  }

  function expire(batch: Batch): void {
    for (const run of batch.runs) {
      while (!run.ended) {
        const index = firstUnanswered(run)
        if (run.unanswered === 0 || index >= run.handed) end(batch, run)
        else answered(batch, run, index, noAnswer())
      }
    }
  }

  return { goOn, answered, giveBack: (batch, run) => end(batch, run), expire }
}
