import { errorFields } from '../../core/errors/error-text.ts'
import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import type { Environment } from '../environment.ts'
import { EXTRA_ATTEMPTS, type SlowMode } from '../limits/slow-mode.ts'
import type { RelaySettings } from '../options.ts'
import type { Terms } from '../publish/batch.ts'
import type { Publisher } from '../publish/publisher.ts'
import { retriesOfType } from '../type-retries.ts'
import type { Reports } from '../reports.ts'
import { killsRelay } from '../settle/settle-policy.ts'
import type { Entry } from '../settle/entry.ts'
import type { Settler } from '../settle/settler.ts'
import type { InHand } from './in-hand.ts'

export interface DispatchPorts {
  readonly environment: Pick<Environment, 'app' | 'logger'>
  readonly settings: RelaySettings
  readonly inHand: InHand
  readonly publisher: Pick<Publisher, 'take'>
  readonly settler: Pick<Settler, 'add' | 'confirmed' | 'halted'>
  readonly slowMode: SlowMode
  readonly reports: Pick<Reports, 'dead'>
  /** Rows were given back because of a suspect: the next claim follows at once. */
  readonly onSuspect: () => void
  /** These rows leave the hands of the relay, and fall due when their claim ends. */
  readonly onLost: (entries: readonly Entry[]) => void
}

/** Takes rows in hand and sends each on its way. Nothing here ever throws. */
export class Dispatch {
  readonly #ports: DispatchPorts

  constructor(ports: DispatchPorts) {
    this.#ports = ports
  }

  /**
   * Settles rows of messages that the broker has confirmed before, when settling failed. Returns
   * the others.
   */
  unconfirmed(rows: readonly ClaimedMessage[], terms: Terms): readonly ClaimedMessage[] {
    const isConfirmed = ({ position, message }: ClaimedMessage): boolean =>
      this.#ports.settler.confirmed(position, message.id)
    if (!rows.some(isConfirmed)) return rows
    const confirmed = rows.filter(isConfirmed)
    if (this.#take(confirmed)) {
      for (const row of confirmed) {
        const { position, token } = row
        this.#settle(row, { kind: 'sent', position, token }, terms, { unblocks: true })
      }
    }
    return rows.filter((row) => !isConfirmed(row))
  }

  /** Publishes the rows of a claim, unless one of them seems to kill its relay. */
  claimed(rows: readonly ClaimedMessage[], terms: Terms): void {
    const { settings, inHand, slowMode } = this.#ports
    const suspect = rows.some((row) => isSuspect(row, settings))
    if (suspect && !slowMode.on) {
      slowMode.enter()
      // Its neighbours, and what else is in hand, must not be charged for what it may do.
      if (rows.length > 1 || inHand.rows > 0) {
        this.#ports.onSuspect()
        return this.release(rows, terms)
      }
    }
    slowMode.saw(suspect)
    const [first] = rows
    if (first === undefined) return
    const alone = suspect && rows.length === 1 && slowMode.on
    const { maxAttempts } = retriesOfType(settings, first.message.type)
    if (alone && first.attempt > maxAttempts + EXTRA_ATTEMPTS) this.#giveUp(first, terms)
    else this.publish(rows, terms)
  }

  /** False: the relay has stopped, and these fall due by themselves. */
  #take(rows: readonly ClaimedMessage[]): boolean {
    if (this.#ports.settler.halted) return false
    this.#ports.inHand.hold(rows)
    return true
  }

  #settle(
    row: ClaimedMessage,
    settlement: Settlement,
    { keepUntil }: Terms,
    more: Pick<Entry, 'unblocks' | 'done'>,
  ): void {
    this.#ports.settler.add({ row, settlement, keepUntil, ...more })
  }

  /** Gives the rows back unharmed. */
  release(rows: readonly ClaimedMessage[], terms: Terms): void {
    if (!this.#take(rows)) return
    for (const row of rows) this.#settle(row, released(row), terms, { unblocks: false })
  }

  publish(rows: readonly ClaimedMessage[], terms: Terms): void {
    if (!this.#take(rows)) return
    try {
      this.#ports.publisher.take(rows, terms)
    } catch (thrown) {
      this.#lost(rows, terms, thrown)
    }
  }

  /** What of them was handed over may still be confirmed, so they are not given back at once. */
  #lost(rows: readonly ClaimedMessage[], { keepUntil }: Terms, thrown: unknown): void {
    const { app, logger } = this.#ports.environment
    logger.error(
      { app, messages: rows.length, ...errorFields(thrown) },
      'handing claimed messages over failed; they fall due again when their claim ends',
    )
    this.#ports.onLost(
      rows.map((row) => ({ row, settlement: released(row), keepUntil, unblocks: false })),
    )
  }

  #giveUp(row: ClaimedMessage, terms: Terms): void {
    if (!this.#take([row])) return
    const settlement = killsRelay(row, this.#ports.settings)
    const done = (): void => this.#ports.reports.dead(row, settlement)
    this.#settle(row, settlement, terms, { unblocks: true, done })
  }
}

// What was not read kills nobody any more.
function isSuspect(
  { attempt, withheldBytes, message }: ClaimedMessage,
  settings: RelaySettings,
): boolean {
  const { maxAttempts } = retriesOfType(settings, message.type)
  return attempt > maxAttempts && withheldBytes === undefined
}

function released({ position, token }: ClaimedMessage): Settlement {
  return { kind: 'release', position, token }
}
