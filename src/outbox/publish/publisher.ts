import { destinationKey } from '../../core/messages/message.ts'
import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import { emit } from '../../core/telemetry.ts'
import type { PublishOutcome, Transport } from '../../core/transport.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { brokenAnswer, isWithdrawn, noAnswer, noSuchTransport } from './answers.ts'
import { createHands, type Hands } from './collector.ts'
import type { Batch, PublisherPorts, Terms } from './batch.ts'
import { toRuns, type Run } from './runs.ts'
import { togetherOf } from './together.ts'
import { settlementOf, tooLarge } from '../settle/settle-policy.ts'
import { watchDeadlines } from './deadlines.ts'

/** Publishes batches of claimed rows and hands their settlements on. */
export interface Publisher {
  /**
   * Takes the rows over; every one of them ends in a settlement, or is left to expire after `halt`.
   */
  take(rows: readonly ClaimedMessage[], terms: Terms): void
  /** Takes back what the transports have not written yet, and gives it back. */
  withdraw(): void
  /** Publishes nothing more; what is with the transports goes on, the rest is given back. */
  close(): void
  /** Gives up what is unanswered. No timer is left. */
  halt(): void
}

/** Waiting time before a message without an answer is published again under the same claim. */
const AGAIN = { firstMs: 100, longestMs: 2000 }

export function createPublisher(ports: PublisherPorts): Publisher {
  const { breakers, pauses, clock, random, settings, settler, unknowns } = ports
  const batches = new Set<Batch>()
  let closed = false
  let halted = false
  const deadlines = watchDeadlines({
    clock,
    batches,
    tickMs: ports.tickMs,
    onExpired: giveUp,
    onTick: ports.renewals.look,
  })

  function settle(
    batch: Batch,
    row: ClaimedMessage,
    settlement: Settlement,
    unblocks: boolean,
    done?: () => void,
  ): void {
    const lingers = batch.terms.express && settlement.kind === 'sent' && !closed
    settler.add({ row, settlement, keepUntil: batch.terms.keepUntil, unblocks, lingers, done })
  }

  /** Ends a run: what `first` says about the row at `next`, and the later ones are given back. */
  function end(batch: Batch, run: Run, first?: Settlement): void {
    run.ended = true
    if (run.probe !== undefined) breakers.abandoned(run.probe)
    run.probe = undefined
    for (let index = run.next; index < run.rows.length; index++) {
      const row = run.rows[index] as ClaimedMessage
      const given = index === run.next ? first : undefined
      const done = given?.kind === 'dead' ? () => ports.onDead(row, given) : undefined
      settle(
        batch,
        row,
        given ?? { kind: 'release', position: row.position, token: row.token },
        false,
        done,
      )
    }
    finish(batch, run)
  }

  function finish(batch: Batch, run: Run): void {
    batch.runs.delete(run)
    if (batch.runs.size > 0) return
    batches.delete(batch)
    if (batch.pausing) batch.controller.abort()
  }

  /** Hands the next rows of a run to their transport, or ends the run if that may not be. */
  function hand(batch: Batch, run: Run): void {
    const row = run.rows[run.next] as ClaimedMessage
    if (closed || clock.monotonic() >= batch.terms.publishUntil) return end(batch, run)
    if (pauses.some && pauses.covers(row.message)) return end(batch, run)
    if (row.withheldBytes !== undefined) return deal(batch, run, row, tooLarge(row.withheldBytes))
    if (breakers.troubled && !admitted(batch, run, row)) return end(batch, run)
    const transport = ports.transports.get(row.message.to.transport)
    if (transport === undefined) return answerUnknownTransport(batch, run, row)
    const stretch =
      transport.features.ordering === 'per-key' && run.probe === undefined
        ? stretchOf(run)
        : togetherOnly(run, transport)
    run.handed = run.next + stretch
    run.unanswered = stretch
    run.patient = transport.features.patient === true
    for (let index = run.next; index < run.handed; index++) batch.hands.add(transport, run, index)
  }

  function admitted(batch: Batch, run: Run, row: ClaimedMessage): boolean {
    const destination = destinationKey(row.message.to)
    if (batch.terms.express) return breakers.isClosed(destination)
    const admission = breakers.admit(destination)
    if (admission === 'probe') run.probe = destination
    return admission !== 'no'
  }

  function togetherOnly(run: Run, transport: Transport): number {
    if (transport.features.together === undefined || run.probe !== undefined) return 1
    return togetherOf(
      transport,
      run.rows.slice(run.next, run.next + stretchOf(run)) as ClaimedMessage[],
    )
  }

  /**
   * How many rows from `next` on go to the same transport, none of them paused or to a destination
   * in trouble.
   */
  function stretchOf(run: Run): number {
    const name = run.rows[run.next]?.message.to.transport
    let index = run.next + 1
    for (; index < run.rows.length; index++) {
      const { message, withheldBytes } = run.rows[index] as ClaimedMessage
      if (withheldBytes !== undefined || message.to.transport !== name) break
      if (pauses.some && pauses.covers(message)) break
      if (breakers.troubled && !breakers.isClosed(destinationKey(message.to))) break
    }
    return index - run.next
  }

  function answerUnknownTransport(batch: Batch, run: Run, row: ClaimedMessage): void {
    run.handed = run.next + 1
    run.unanswered = 1
    run.patient = false
    answered(batch, run, run.next, noSuchTransport(row.message.to.transport))
  }

  /** An answer arrived. Those of one run are dealt with in the order of its rows. */
  function answered(batch: Batch, run: Run, index: number, outcome: PublishOutcome): void {
    if (run.ended || halted) return
    const row = run.rows[index] as ClaimedMessage
    account(run, row, outcome)
    run.unanswered--
    if (run.unanswered === 0 && index === run.next && run.handed === run.next + 1)
      return deal(batch, run, row, outcome)
    run.answers ??= []
    run.answers[index] = outcome
    for (;;) {
      const next = run.next
      const answer = run.ended || next >= run.handed ? undefined : run.answers[next]
      if (answer === undefined) return
      // Published again only when nothing of this run is under way any more.
      if (answer.kind === 'unknown' && run.unanswered > 0) return
      deal(batch, run, run.rows[next] as ClaimedMessage, answer)
      if (run.next === next) return
    }
  }

  /** What the outcome says about the destination, and what it says to whoever listens. */
  function account(run: Run, row: ClaimedMessage, outcome: PublishOutcome): void {
    const { message } = row
    emit('mersal:publish', () => ({
      app: ports.app,
      id: message.id,
      to: destinationKey(message.to),
      outcome: outcome.kind,
      attempt: row.attempt,
    }))
    if (outcome.kind === 'unknown') unknowns.note(row.position, clock.monotonic())
    if (isWithdrawn(outcome)) return
    if (outcome.kind === 'unknown' || outcome.kind === 'unavailable') {
      const back = outcome.kind === 'unavailable' ? outcome.back : undefined
      breakers.failed(destinationKey(message.to), outcome.error, {
        probe: run.probe !== undefined,
        back,
      })
      run.probe = undefined
    } else if (breakers.troubled) {
      breakers.succeeded(destinationKey(message.to))
      run.probe = undefined
    }
  }

  /** Deals with the answer for the row at `next`. */
  function deal(batch: Batch, run: Run, row: ClaimedMessage, outcome: PublishOutcome): void {
    if (outcome.kind === 'confirmed') return confirmed(batch, run, row)
    if (isWithdrawn(outcome)) return end(batch, run)
    if (outcome.kind === 'unknown' && mayGoAgain(batch, row)) return again(batch, run)
    const last = unknowns.last(row.position)
    const unansweredForMs = last === undefined ? undefined : clock.monotonic() - last
    const settlement = settlementOf(row, outcome, {
      settings,
      random,
      express: batch.terms.express,
      unansweredForMs,
    })
    if (settlement.kind === 'dead') unknowns.forget(row.position)
    if (settlement.kind === 'retry') ports.onRefused(row, settlement)
    end(batch, run, settlement)
  }

  function confirmed(batch: Batch, run: Run, row: ClaimedMessage): void {
    unknowns.forget(row.position)
    run.rows[run.next] = undefined
    run.next++
    run.failures = 0
    const over = run.next === run.rows.length
    settle(
      batch,
      row,
      { kind: 'sent', position: row.position, token: row.token },
      over && run.keyed,
    )
    if (over) {
      run.ended = true
      finish(batch, run)
    } else if (run.next === run.handed) {
      hand(batch, run)
    }
  }

  function mayGoAgain(batch: Batch, row: ClaimedMessage): boolean {
    if (closed || batch.terms.express || clock.monotonic() >= batch.againUntil) return false
    return !breakers.troubled || breakers.isClosed(destinationKey(row.message.to))
  }

  /**
   * Publishes the run again from `next` on, with the same ids, after a pause that all of the batch
   * share.
   */
  function again(batch: Batch, run: Run): void {
    run.failures++
    run.answers = undefined
    run.handed = run.next
    batch.later.push(run)
    if (!batch.pausing) void resume(batch, backoffMs(AGAIN, run.failures, random))
  }

  async function resume(batch: Batch, pauseMs: number): Promise<void> {
    batch.pausing = true
    await clock.sleep(pauseMs, batch.controller.signal)
    batch.pausing = false
    if (halted) return
    for (const run of batch.later.splice(0)) if (!run.ended) hand(batch, run)
  }

  /** The claim is over and the transport still owes answers: counts as no answer. */
  function giveUp(batch: Batch): void {
    for (const run of batch.runs) {
      while (!run.ended) {
        const index = run.answers === undefined ? run.next : firstHole(run)
        if (run.unanswered === 0 || index >= run.handed) end(batch, run)
        else answered(batch, run, index, noAnswer())
      }
    }
  }

  function firstHole(run: Run): number {
    let index = run.next
    while (index < run.handed && run.answers?.[index] !== undefined) index++
    return index
  }

  function publish(batch: Batch, transport: Transport, hands: Hands): void {
    if (halted) return
    const { messages, runs, indexes } = hands
    let answers: readonly Promise<PublishOutcome>[] = []
    let thrown: unknown
    try {
      answers = transport.publish(messages, {
        signal: batch.controller.signal,
        withdraw: batch.withdrawal.signal,
      })
    } catch (error) {
      thrown = error
    }
    for (let at = 0; at < messages.length; at++) {
      const run = runs[at] as Run
      const index = indexes[at] as number
      const answer = answers[at]
      if (answer === undefined) answered(batch, run, index, brokenAnswer(transport, thrown))
      else {
        answer.then(
          (outcome) => answered(batch, run, index, outcome),
          (error: unknown) => answered(batch, run, index, brokenAnswer(transport, error)),
        )
      }
    }
  }

  return {
    take(rows, terms) {
      const runs = toRuns(rows)
      const batch: Batch = {
        terms,
        runs: new Set(runs),
        againUntil: terms.publishUntil,
        withdrawal: new AbortController(),
        controller: new AbortController(),
        hands: createHands((transport, hands) => publish(batch, transport, hands)),
        later: [],
        pausing: false,
      }
      batches.add(batch)
      deadlines.watch()
      for (const run of runs) hand(batch, run)
    },
    close() {
      closed = true
      for (const batch of batches) {
        for (const run of batch.later.splice(0)) if (!run.ended) end(batch, run)
        batch.withdrawal.abort('closed')
      }
    },
    withdraw() {
      for (const batch of batches) batch.withdrawal.abort('withdrawn')
    },
    halt() {
      closed = true
      halted = true
      deadlines.halt()
      for (const batch of batches) batch.controller.abort()
      batches.clear()
    },
  }
}
