import { isExpired } from '../../core/messages/expiry.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'
import type { Transport } from '../../core/transport.ts'
import type { Environment } from '../environment.ts'
import type { MessageGate } from '../limits/hold-backs.ts'
import type { RelaySettings } from '../options.ts'
import type { Reports } from '../reports.ts'
import type { Renewals } from '../settle/renewals.ts'
import type { Settler } from '../settle/settler.ts'
import { createUnanswered } from '../settle/unanswered.ts'
import type { Batch, Ending, Terms } from './batch.ts'
import { createCollector } from './collector.ts'
import { watchDeadlines } from './deadlines.ts'
import { HandingOver } from './handing-over.ts'
import { Progress } from './progress.ts'
import { toRuns } from './runs.ts'

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

export interface PublisherPorts {
  readonly environment: Environment
  readonly transports: ReadonlyMap<string, Transport>
  readonly gate: MessageGate
  readonly settler: Pick<Settler, 'add'>
  readonly renewals: Renewals
  readonly settings: RelaySettings
  readonly reports: Pick<Reports, 'dead' | 'refused' | 'expired'>
}

export function createPublisher(ports: PublisherPorts): Publisher {
  const { transports, gate, settings } = ports
  const { clock } = ports.environment
  const batches = new Set<Batch>()
  const ending: Ending = { closed: false, halted: false }
  const progress = new Progress({
    ...ports,
    unanswered: createUnanswered(),
    ending,
    hand: (batch, run) => handingOver.hand(batch, run),
    onFinished: (batch) => batches.delete(batch),
  })
  const handingOver = new HandingOver({
    app: ports.environment.app,
    transports,
    gate,
    ending,
    isExpired: (message) => isExpired(message, clock.now()),
    onAnswer: (...answer) => progress.answered(...answer),
  })
  const deadlines = watchDeadlines({
    clock,
    batches,
    tickMs: tickMsOf(settings),
    onExpired: (batch) => progress.expire(batch),
    onTick: ports.renewals.look,
  })

  return {
    take(rows, terms) {
      const batch = newBatch(rows, terms, handingOver)
      batches.add(batch)
      deadlines.watch()
      for (const run of batch.runs) progress.goOn(batch, run)
    },
    close() {
      ending.closed = true
      for (const batch of batches) {
        for (const run of batch.later.splice(0)) if (!run.ended) progress.giveBack(batch, run)
        batch.withdrawal.abort('closed')
      }
    },
    withdraw() {
      for (const batch of batches) batch.withdrawal.abort('withdrawn')
    },
    halt() {
      Object.assign(ending, { closed: true, halted: true })
      deadlines.halt()
      for (const batch of batches) batch.controller.abort()
      batches.clear()
    },
  }
}

function newBatch(rows: readonly ClaimedMessage[], terms: Terms, handingOver: HandingOver): Batch {
  const batch: Batch = {
    terms,
    runs: new Set(toRuns(rows)),
    againUntil: terms.publishUntil,
    withdrawal: new AbortController(),
    controller: new AbortController(),
    collector: createCollector((transport, collected) =>
      handingOver.publish(batch, transport, collected),
    ),
    later: [],
    pausing: false,
  }
  return batch
}

/** How often the deadlines of batches are looked at while there are any. */
function tickMsOf({ claimMs, expressGraceMs }: RelaySettings): number {
  return Math.max(5, Math.min(claimMs / 5, expressGraceMs / 2) / 4)
}
