import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { PauseBoard } from '../../core/operations.ts'
import type { ClaimedMessage, ClaimRequest } from '../../core/outbox.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import type { Environment } from '../environment.ts'
import type { RelaySettings } from '../options.ts'
import type { Reports } from '../reports.ts'
import { type Admission, type Breakers, createBreakers } from './breaker.ts'
import type { Room } from './capacity.ts'
import { createPauses, type Pauses } from './pauses.ts'
import { createShares, type Grant, type RowsFor, type Shares } from './shares.ts'
import type { SlowDestinations } from './slow-destinations.ts'
import { createSlowMode, type SlowMode } from './slow-mode.ts'

/**
 * Everything that holds messages back: breakers of destinations, pauses of operators, slow mode
 * after a message that kills its relay, and fair shares of the window.
 */
export interface HoldBacks {
  /** May this message go? */
  readonly messages: MessageGate
  /** What may a claim take, and what does it leave alone? */
  readonly claims: ClaimGate
  /** May messages take the express lane? */
  readonly lane: LaneGate
}

export interface MessageGate {
  /** `probe`: it may go as the only one of its destination. */
  mayGo(message: OutgoingMessage, express: boolean): Admission
  isPaused(message: OutgoingMessage): boolean
  /** No breaker holds it back; it would be no probe. */
  isReachable(message: OutgoingMessage): boolean
  /** Learns from an answer whether the destination of the message answers. */
  answered(message: OutgoingMessage, outcome: PublishOutcome, probe: boolean): void
  /** The probe of this destination was given back unpublished. */
  abandoned(destination: string): void
}

export interface ClaimGate {
  readonly pauses: Pauses
  readonly slowMode: SlowMode
  /** When the next destination may be probed (monotonic milliseconds), or Infinity. */
  readonly nextProbeAt: number
  next(state: ClaimState): Grant
  leftAlone(grant: Grant): Pick<ClaimRequest, 'exceptDestinations' | 'exceptKeys'>
  /** Notes what became of a claim. Returns whether the next one is to follow at once. */
  took(grant: Grant, full: boolean): boolean
}

export interface ClaimState {
  /** Rows in hand. */
  readonly held: number
  readonly room: () => Room
  /** There is a new reason to look. */
  readonly fresh: boolean
  /** The looks for others have seen the whole outbox once. */
  readonly swept: boolean
  /** The claim is for these rows alone. */
  readonly rows?: RowsFor
}

export interface LaneGate {
  readonly open: boolean
  /** Whether slow destinations leave room for these. */
  takes(rows: readonly ClaimedMessage[]): boolean
}

export interface HoldBackPorts {
  readonly environment: Environment
  readonly settings: RelaySettings
  readonly board: Pick<PauseBoard, 'list'> | undefined
  readonly slow: SlowDestinations
  readonly reports: Pick<Reports, 'breaker' | 'slowMode'>
  /** The list of pauses has changed. */
  readonly onPauses: () => void
  /** A destination may be probed earlier than planned. */
  readonly onProbe: () => void
  /** Rows in hand. */
  readonly held: () => number
}

export function createHoldBacks(ports: HoldBackPorts): HoldBacks {
  const { settings, slow } = ports
  const { clock, random } = ports.environment
  const breakers = createBreakers({
    backoff: settings.breaker,
    clock,
    random,
    onChange: ports.reports.breaker,
    onSooner: ports.onProbe,
  })
  const pauses = createPauses({
    board: ports.board,
    clock,
    onChange: ports.onPauses,
    needed: () => settings.express === true || settings.commitLog || ports.held() > 0,
  })
  const shares = createShares({ ...settings, slow: () => slow.list(clock.monotonic()) })
  const slowMode = createSlowMode(ports.reports.slowMode)
  return {
    messages: messageGate(breakers, pauses),
    claims: claimGate(breakers, pauses, shares, slowMode),
    lane: {
      get open() {
        return pauses.known && !slowMode.on
      },
      takes: (rows) => rows.filter((row) => slow.has(row)).length <= shares.slowRoom,
    },
  }
}

function messageGate(breakers: Breakers, pauses: Pauses): MessageGate {
  const isPaused = (message: OutgoingMessage): boolean => pauses.some && pauses.covers(message)
  const isReachable = ({ to }: OutgoingMessage): boolean =>
    !breakers.troubled || breakers.isClosed(destinationKey(to))
  return {
    isPaused,
    isReachable,
    mayGo(message, express) {
      if (isPaused(message)) return 'no'
      if (express) return isReachable(message) ? 'yes' : 'no'
      return breakers.troubled ? breakers.admit(destinationKey(message.to)) : 'yes'
    },
    answered({ to }, outcome, probe) {
      if (outcome.kind === 'unknown' || outcome.kind === 'unavailable') {
        const back = outcome.kind === 'unavailable' ? outcome.back : undefined
        breakers.failed(destinationKey(to), outcome.error, { probe, back })
      } else if (breakers.troubled) breakers.succeeded(destinationKey(to))
    },
    abandoned: (destination) => breakers.abandoned(destination),
  }
}

/** Rows that have fallen due need not be of a destination whose probe is due. */
const openNow = (breakers: Breakers, rows: RowsFor | undefined): readonly string[] =>
  rows === undefined ? breakers.excepted() : breakers.closedOff

function claimGate(
  breakers: Breakers,
  pauses: Pauses,
  shares: Shares,
  slowMode: SlowMode,
): ClaimGate {
  return {
    pauses,
    slowMode,
    get nextProbeAt() {
      return breakers.nextProbeAt
    },
    next({ held, room, fresh, swept, rows }) {
      const only = rows === undefined ? {} : { rows }
      // One by one, and nothing else in hand: only the culprit is to be charged.
      if (slowMode.on) return { turn: 'all', limit: held === 0 ? 1 : 0, except: [], ...only }
      if (rows !== undefined) return shares.nextRows(room(), rows)
      return shares.next({ ...room(), fresh, swept })
    },
    leftAlone({ except, rows }) {
      const open = breakers.troubled ? openNow(breakers, rows) : []
      const destinations =
        pauses.some || except.length > 0
          ? [...new Set([...open, ...pauses.destinations, ...except])]
          : open
      return {
        ...(destinations.length === 0 ? {} : { exceptDestinations: destinations }),
        ...(pauses.keys.length === 0 ? {} : { exceptKeys: pauses.keys }),
      }
    },
    took: ({ turn, rows }, full) => rows === undefined && shares.took(turn, full),
  }
}
