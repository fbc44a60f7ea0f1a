import type { RetryChoices } from '../../core/errors/retry-choices.ts'
import { isExpired } from '../../core/messages/expiry.ts'
import { destinationKey } from '../../core/messages/message.ts'
import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import { emit } from '../../core/telemetry.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Environment } from '../environment.ts'
import type { MessageGate } from '../limits/hold-backs.ts'
import type { RelaySettings } from '../options.ts'
import type { Reports } from '../reports.ts'
import { settlementOf, settlementOfExpired, tooLarge } from '../settle/settle-policy.ts'
import type { Settler } from '../settle/settler.ts'
import type { Unanswered } from '../settle/unanswered.ts'
import { choicesByType } from '../type-retries.ts'
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
  skipNext,
} from './runs.ts'

export interface ProgressPorts {
  readonly environment: Environment
  readonly settings: RelaySettings
  readonly gate: MessageGate
  readonly settler: Pick<Settler, 'add'>
  readonly unanswered: Unanswered
  readonly reports: Pick<Reports, 'dead' | 'refused' | 'expired'>
  readonly ending: Readonly<Ending>
  /** Hands the next rows of a run over; false: they may not go now. */
  readonly hand: (batch: Batch, run: Run) => boolean
  /** Every row of the batch has its settlement. */
  readonly onFinished: (batch: Batch) => void
}

/**
 * How long the settlement of a confirmed message of the express lane waits for others, in
 * milliseconds. Short against the time in which a crash would make it be published again. The next
 * message of a key can take the lane only when the rows before it have gone.
 */
const LINGER_MS = 20
const KEYED_LINGER_MS = 2
/** So near to the end of its claim, a row waits for nothing. */
const HURRIES_MS = 1000
/** Waiting time before a message without an answer is published again under the same claim. */
const AGAIN = { firstMs: 100, longestMs: 2000 }

/** Moves runs from answer to answer until each of their rows has a settlement. */
export class Progress {
  readonly #ports: ProgressPorts
  readonly #environment: Environment
  readonly #choices: ReadonlyMap<string, RetryChoices>

  constructor(ports: ProgressPorts) {
    this.#ports = ports
    this.#environment = ports.environment
    const { app, logger } = ports.environment
    this.#choices = choicesByType(ports.settings.retries, (fields, text) =>
      logger.error({ app, ...fields }, text),
    )
  }

  /** Ends the run: what is not confirmed is given back. */
  giveBack(batch: Batch, run: Run): void {
    this.#end(batch, run)
  }

  /** Hands the next rows of the run over, or ends it. */
  goOn(batch: Batch, run: Run): void {
    while (!this.#isLate(batch) && this.#isOver(rowAt(run, run.next)))
      if (!this.#expired(batch, run)) return
    const { message, withheldBytes } = rowAt(run, run.next)
    if (this.#isLate(batch)) return this.#end(batch, run)
    if (withheldBytes !== undefined && !this.#ports.gate.isPaused(message))
      return this.#deal(batch, run, tooLarge(withheldBytes))
    if (!this.#ports.hand(batch, run)) this.#end(batch, run)
  }

  /** Nothing of the batch may be handed over any more. */
  #isLate({ terms }: Batch): boolean {
    return this.#ports.ending.closed || this.#environment.clock.monotonic() >= terms.publishUntil
  }

  #isOver({ message }: ClaimedMessage): boolean {
    return isExpired(message, this.#environment.clock.now()) && !this.#ports.gate.isPaused(message)
  }

  answered(batch: Batch, run: Run, index: number, outcome: PublishOutcome): void {
    if (run.ended || this.#ports.ending.halted) return
    this.#account(run, rowAt(run, index), outcome)
    const only = noteAnswer(run, index, outcome)
    if (only !== undefined) return this.#deal(batch, run, only)
    let due = dueAnswer(run)
    while (due !== undefined) {
      const { next } = run
      this.#deal(batch, run, due)
      due = run.next === next ? undefined : dueAnswer(run)
    }
  }

  /** What the outcome says about the destination, and to whoever listens. */
  #account(
    run: Run,
    { message, position, attempt }: ClaimedMessage,
    outcome: PublishOutcome,
  ): void {
    emit('mersal:publish', () => ({
      app: this.#environment.app,
      id: message.id,
      to: destinationKey(message.to),
      outcome: outcome.kind,
      attempt,
    }))
    if (outcome.kind === 'unknown')
      this.#ports.unanswered.note(position, this.#environment.clock.monotonic())
    if (isWithdrawn(outcome)) return
    this.#ports.gate.answered(message, outcome, run.probe !== undefined)
    run.probe = undefined
  }

  /** Deals with the answer for the row at `next`. */
  #deal(batch: Batch, run: Run, outcome: PublishOutcome): void {
    const row = rowAt(run, run.next)
    if (outcome.kind === 'confirmed') return this.#confirmed(batch, run, row)
    if (isWithdrawn(outcome)) return this.#end(batch, run)
    if (outcome.kind === 'unknown' && this.#mayGoAgain(batch, row)) return this.#again(batch, run)
    this.#end(batch, run, this.#settlementFor(batch, row, outcome))
  }

  #circumstances(batch: Batch, { position, message }: ClaimedMessage) {
    const last = this.#ports.unanswered.last(position)
    return {
      settings: this.#ports.settings,
      choices: this.#choices.get(message.type),
      random: this.#environment.random,
      express: batch.terms.express,
      unansweredForMs: last === undefined ? undefined : this.#environment.clock.monotonic() - last,
    }
  }

  /** It is not published. Returns whether the run goes on with the next row. */
  #expired(batch: Batch, run: Run): boolean {
    const row = rowAt(run, run.next)
    const settlement = settlementOfExpired(row, this.#circumstances(batch, row))
    if (settlement.kind === 'release') {
      this.#end(batch, run, settlement)
      return false
    }
    this.#ports.unanswered.forget(row.position)
    const over = skipNext(run)
    this.#settle(batch, row, settlement, over && run.keyed, () => {
      this.#ports.reports.expired(row)
      this.#buried(row, settlement)?.()
    })
    if (over) this.#finish(batch, run)
    return !over
  }

  #settlementFor(batch: Batch, row: ClaimedMessage, outcome: PublishOutcome): Settlement {
    const settlement = settlementOf(row, outcome, this.#circumstances(batch, row))
    if (settlement.kind === 'dead') this.#ports.unanswered.forget(row.position)
    if (settlement.kind === 'retry') this.#ports.reports.refused(row, settlement)
    return settlement
  }

  #confirmed(batch: Batch, run: Run, row: ClaimedMessage): void {
    const { position, token } = row
    this.#ports.unanswered.forget(position)
    const over = passNext(run)
    this.#settle(batch, row, { kind: 'sent', position, token }, over && run.keyed)
    if (over) this.#finish(batch, run)
    else if (run.next === run.handed) this.goOn(batch, run)
  }

  /** Ends a run: what `first` says about the row at `next`, and the later ones are given back. */
  #end(batch: Batch, run: Run, first?: Settlement): void {
    run.ended = true
    if (run.probe !== undefined) this.#ports.gate.abandoned(run.probe)
    run.probe = undefined
    for (let index = run.next; index < run.rows.length; index++) {
      const row = rowAt(run, index)
      const { position, token } = row
      const given = index === run.next ? first : undefined
      this.#settle(batch, row, given ?? { kind: 'release', position, token }, false)
    }
    this.#finish(batch, run)
  }

  #settle(
    batch: Batch,
    row: ClaimedMessage,
    settlement: Settlement,
    unblocks: boolean,
    done = this.#buried(row, settlement),
  ): void {
    const { express, keepUntil } = batch.terms
    const lingerMs = express && settlement.kind === 'sent' ? this.#lingerMs(row, keepUntil) : 0
    this.#ports.settler.add({ row, settlement, keepUntil, unblocks, lingerMs, done })
  }

  /** Tells of a dead letter, once it is recorded. */
  #buried(row: ClaimedMessage, settlement: Settlement): (() => void) | undefined {
    return settlement.kind === 'dead' ? () => this.#ports.reports.dead(row, settlement) : undefined
  }

  #lingerMs({ message }: ClaimedMessage, keepUntil: number): number {
    const leftMs = keepUntil - this.#environment.clock.monotonic()
    if (this.#ports.ending.closed || leftMs < HURRIES_MS) return 0
    return message.partitionKey === undefined ? LINGER_MS : KEYED_LINGER_MS
  }

  #finish(batch: Batch, run: Run): void {
    batch.runs.delete(run)
    if (batch.runs.size > 0) return
    this.#ports.onFinished(batch)
    if (batch.pausing) batch.controller.abort()
  }

  #mayGoAgain(batch: Batch, { message }: ClaimedMessage): boolean {
    if (
      this.#ports.ending.closed ||
      batch.terms.express ||
      this.#environment.clock.monotonic() >= batch.againUntil
    )
      return false
    return this.#ports.gate.isReachable(message)
  }

  /**
   * Publishes the run this.#again, with the same ids, after a pause that all of the batch share.
   */
  #again(batch: Batch, run: Run): void {
    rewind(run)
    batch.later.push(run)
    if (!batch.pausing)
      void this.#resume(batch, backoffMs(AGAIN, run.failures, this.#environment.random))
  }

  async #resume(batch: Batch, pauseMs: number): Promise<void> {
    batch.pausing = true
    await this.#environment.clock.sleep(pauseMs, batch.controller.signal)
    batch.pausing = false
    if (this.#ports.ending.halted) return
    for (const run of batch.later.splice(0)) if (!run.ended) this.goOn(batch, run)
  }

  /** The claim is over and the transport still owes answers: counts as no answer. */
  expire(batch: Batch): void {
    for (const run of batch.runs) {
      while (!run.ended) {
        const index = firstUnanswered(run)
        if (run.unanswered === 0 || index >= run.handed) this.#end(batch, run)
        else this.answered(batch, run, index, noAnswer())
      }
    }
  }
}
