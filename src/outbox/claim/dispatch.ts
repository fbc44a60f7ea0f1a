import { errorFields } from '../../core/errors/error-text.ts'
import type { ClaimedMessage, Settlement } from '../../core/outbox.ts'
import type { Environment } from '../environment.ts'
import { EXTRA_ATTEMPTS, type SlowMode } from '../limits/slow-mode.ts'
import type { RelaySettings } from '../options.ts'
import type { Terms } from '../publish/batch.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { Reports } from '../reports.ts'
import { killsRelay } from '../settle/settle-policy.ts'
import type { Entry, Settler } from '../settle/settler.ts'
import type { InHand } from './in-hand.ts'

/** Takes rows in hand and sends each on its way. Nothing here ever throws. */
export interface Dispatch {
  /**
   * Settles rows of messages that the broker has confirmed before, when settling failed. Returns
   * the others.
   */
  unconfirmed(rows: readonly ClaimedMessage[], terms: Terms): readonly ClaimedMessage[]
  /** Publishes the rows of a claim, unless one of them seems to kill its relay. */
  claimed(rows: readonly ClaimedMessage[], terms: Terms): void
  publish(rows: readonly ClaimedMessage[], terms: Terms): void
  /** Gives the rows back unharmed. */
  release(rows: readonly ClaimedMessage[], terms: Terms): void
}

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

export function createDispatch(ports: DispatchPorts): Dispatch {
  const { settings, inHand, publisher, settler, slowMode } = ports

  function settle(
    row: ClaimedMessage,
    settlement: Settlement,
    { keepUntil }: Terms,
    more: Pick<Entry, 'unblocks' | 'done'>,
  ): void {
    settler.add({ row, settlement, keepUntil, ...more })
  }

  function release(rows: readonly ClaimedMessage[], terms: Terms): void {
    if (settler.halted) return // they fall due by themselves
    inHand.hold(rows)
    for (const row of rows) settle(row, released(row), terms, { unblocks: false })
  }

  function publish(rows: readonly ClaimedMessage[], terms: Terms): void {
    if (settler.halted) return
    inHand.hold(rows)
    try {
      publisher.take(rows, terms)
    } catch (thrown) {
      lost(rows, terms, thrown)
    }
  }

  /** What of them was handed over may still be confirmed, so they are not given back at once. */
  function lost(rows: readonly ClaimedMessage[], { keepUntil }: Terms, thrown: unknown): void {
    const { app, logger } = ports.environment
    logger.error(
      { app, messages: rows.length, ...errorFields(thrown) },
      'handing claimed messages over failed; they fall due again when their claim ends',
    )
    ports.onLost(
      rows.map((row) => ({ row, settlement: released(row), keepUntil, unblocks: false })),
    )
  }

  function giveUp(row: ClaimedMessage, terms: Terms): void {
    inHand.hold([row])
    const settlement = killsRelay(row, settings)
    const done = (): void => ports.reports.dead(row, settlement)
    settle(row, settlement, terms, { unblocks: true, done })
  }

  // What was not read kills nobody any more.
  const isSuspect = ({ attempt, withheldBytes }: ClaimedMessage): boolean =>
    attempt > settings.maxAttempts && withheldBytes === undefined

  return {
    release,
    publish,
    unconfirmed(rows, terms) {
      const isConfirmed = ({ position, message }: ClaimedMessage): boolean =>
        settler.confirmed(position, message.id)
      if (!rows.some(isConfirmed)) return rows
      const confirmed = rows.filter(isConfirmed)
      inHand.hold(confirmed)
      for (const row of confirmed) {
        const { position, token } = row
        settle(row, { kind: 'sent', position, token }, terms, { unblocks: true })
      }
      return rows.filter((row) => !isConfirmed(row))
    },
    claimed(rows, terms) {
      const suspect = rows.some(isSuspect)
      if (suspect && !slowMode.on) {
        slowMode.enter()
        // Its neighbours, and what else is in hand, must not be charged for what it may do.
        if (rows.length > 1 || inHand.rows > 0) {
          ports.onSuspect()
          return release(rows, terms)
        }
      }
      slowMode.saw(suspect)
      const [first] = rows
      if (first === undefined) return
      const alone = suspect && rows.length === 1 && slowMode.on
      if (alone && first.attempt > settings.maxAttempts + EXTRA_ATTEMPTS) giveUp(first, terms)
      else publish(rows, terms)
    },
  }
}

function released({ position, token }: ClaimedMessage): Settlement {
  return { kind: 'release', position, token }
}
