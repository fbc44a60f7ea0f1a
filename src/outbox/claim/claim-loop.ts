import type { ClaimedMessage, ClaimRequest, OutboxStorage, Stretch } from '../../core/outbox.ts'
import { emit, type Logger } from '../../core/telemetry.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import type { Agenda } from './agenda.ts'
import { type Terms, termsFrom } from '../publish/batch.ts'
import type { Bell } from './bell.ts'
import type { Breakers } from '../limits/breaker.ts'
import { errorFields } from '../../core/errors/error-text.ts'
import { bytesOf } from './in-hand.ts'
import type { RelaySettings } from '../options.ts'
import type { Claimed } from './emptiness.ts'
import type { Pauses } from '../limits/pauses.ts'
import type { Found, Look, Scan } from './scan.ts'
import type { Grant, Shares } from './shares.ts'
import { EXTRA_ATTEMPTS, type SlowMode } from '../limits/slow-mode.ts'

export interface ClaimLoopPorts {
  readonly app: string
  readonly storage: Pick<OutboxStorage<never>, 'claim'>
  readonly settings: RelaySettings
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly newToken: () => string
  readonly bell: Bell
  readonly scan: Scan
  /**
   * For the claims that leave slow destinations alone: they find something else, and so go on
   * elsewhere.
   */
  readonly othersScan: Scan
  readonly shares: Shares
  readonly agenda: Agenda
  readonly breakers: Breakers
  readonly pauses: Pauses
  readonly slow: SlowMode
  readonly running: () => boolean
  /** Aborts when the relay stops. */
  readonly stopping: AbortSignal
  /** Rows with more bytes are not read. */
  readonly largestBytes: number
  /** Rows in the hands of this relay. */
  readonly held: () => number
  /** Rows that the next claim may take, at most so many; 0 as long as there is no room. */
  readonly room: (batchSize: number) => number
  /** Rows that still fit into the window. */
  readonly free: () => number
  /** Bytes that the next claim may take. */
  readonly bytesRoom: () => number
  /** Keeps room for what the claim under way may bring; 0 when it is over. */
  readonly reserve: (rows: number) => void
  readonly publish: (rows: readonly ClaimedMessage[], terms: Terms) => void
  readonly release: (rows: readonly ClaimedMessage[], terms: Terms) => void
  readonly giveUp: (row: ClaimedMessage, terms: Terms) => void
  /** A claim has been answered and its rows are in hand. */
  readonly onClaim: (claim: Claimed) => void
  /** Gives each claim its number when it is sent. */
  readonly nextNumber: () => number
}

const ERROR_BACKOFF = { firstMs: 100, longestMs: 5000 }

/** What a claim looks at. */
function partOf(
  look: Look,
  stopped: Stretch['stopped'],
): Pick<ClaimRequest, 'fromPosition' | 'stretch' | 'keys'> {
  if (look.kind === 'keys') return { keys: look.keys }
  return { fromPosition: look.from, stretch: { rows: look.rows, stopped } }
}

/**
 * Claims whenever there may be rows and there is room, one claim at a time, until the relay stops.
 */
export async function runClaimLoop(ports: ClaimLoopPorts): Promise<void> {
  const { bell, clock, scan, settings, slow } = ports
  let more = true
  let lookedAt = -Infinity
  let othersLookedAt = -Infinity
  let failures = 0
  /** The claim under way. */
  let sent: { readonly looking: Scan; readonly look: Look; readonly startedAt: number } | undefined

  const nextLook = (): number =>
    Math.min(
      lookedAt + settings.pollIntervalMs,
      scan.nextAt,
      ports.agenda.next,
      ports.breakers.troubled ? ports.breakers.nextProbeAt : Infinity,
    )
  const othersDue = (now: number): boolean =>
    now >= Math.min(othersLookedAt + settings.pollIntervalMs, ports.othersScan.nextAt)

  function grant(now: number): Grant {
    if (slow.on) return { turn: 'all', limit: ports.held() === 0 ? 1 : 0, except: [] }
    const fresh = bell.hinted || othersDue(now)
    return ports.shares.next({ free: ports.free(), whole: ports.room(settings.batchSize), fresh })
  }

  /**
   * Waits until there is a reason to look, and room, and keeps it. Returns what to take; undefined:
   * the relay stops.
   */
  async function reason(): Promise<Grant | undefined> {
    while (ports.running()) {
      const now = clock.monotonic()
      const due = more || bell.hinted || now >= nextLook()
      const granted = due ? grant(now) : undefined
      if (granted !== undefined && granted.limit > 0) {
        ports.reserve(granted.limit)
        return granted
      }
      // A hint cannot make room, but it may be for a destination that there is room for.
      if (granted !== undefined && (granted.turn === 'all' || bell.hinted))
        await bell.rest(settings.pollIntervalMs)
      else if (granted !== undefined)
        await bell.wait(
          Math.min(settings.pollIntervalMs, Math.max(1, ports.othersScan.nextAt - now)),
        )
      else await bell.wait(nextLook() - now)
    }
    return undefined
  }

  /** What this claim leaves alone. */
  function exceptions(
    slowOnes: readonly string[],
  ): Pick<ClaimRequest, 'exceptDestinations' | 'exceptKeys'> {
    const open = ports.breakers.troubled ? ports.breakers.excepted() : []
    const some = ports.pauses.some || slowOnes.length > 0
    const exceptDestinations = some
      ? [...new Set([...open, ...ports.pauses.destinations, ...slowOnes])]
      : open
    const exceptKeys = ports.pauses.keys
    return {
      ...(exceptDestinations.length === 0 ? {} : { exceptDestinations }),
      ...(exceptKeys.length === 0 ? {} : { exceptKeys }),
    }
  }

  async function claim({ turn, limit, except }: Grant): Promise<void> {
    // The list of pauses is read beside the claim; only the very first one has to be waited for.
    const pauses = ports.pauses.refresh()
    if (!ports.pauses.known) await pauses
    pauses.catch(() => {}) // it is looked at below
    bell.clear()
    const number = ports.nextNumber()
    const startedAt = clock.monotonic()
    lookedAt = startedAt
    const heldBefore = ports.held()
    if (turn === 'others') othersLookedAt = startedAt
    const due = ports.agenda.take(startedAt)
    if (due !== undefined) for (const each of [scan, ports.othersScan]) each.wantFull(due)
    const looking = turn === 'others' ? ports.othersScan : scan
    const look = looking.plan(startedAt)
    const maxBytes = ports.bytesRoom()
    sent = { looking, look, startedAt }
    let stopped: Found['stopped']
    const rows = await ports.storage.claim({
      limit,
      maxBytes,
      claimMs: settings.claimMs,
      token: ports.newToken(),
      largestBytes: ports.largestBytes,
      ...partOf(look, (at) => (stopped = at)),
      ...exceptions(except),
    })
    const full =
      rows.length >= limit || rows.reduce((sum, row) => sum + bytesOf(row), 0) >= maxBytes
    more = ports.shares.took(turn, full)
    sent = undefined
    const [lowest, highest] = [rows[0]?.position, rows.at(-1)?.position]
    looking.found({ look, startedAt, endedAt: clock.monotonic(), lowest, highest, full, stopped })
    const terms: Terms = { ...termsFrom(startedAt, settings.claimMs), express: false }
    try {
      // What has been paused meanwhile is given back when its turn comes.
      await pauses
    } catch (thrown) {
      ports.release(rows, terms)
      throw thrown
    }
    dispatch(rows, terms)
    const ended = stopped === undefined && !full
    ports.onClaim({
      number,
      look: turn === 'others' ? undefined : look,
      whole: except.length === 0,
      ended,
      messages: rows.length,
      heldBefore,
    })
  }

  function dispatch(rows: readonly ClaimedMessage[], terms: Terms): void {
    // What was not read kills nobody any more.
    const suspect = rows.some(
      (row) => row.attempt > settings.maxAttempts && row.withheldBytes === undefined,
    )
    if (suspect && !slow.on) {
      slow.enter()
      // Its neighbours, and what else is in hand, must not be charged for what it may do.
      if (rows.length > 1 || ports.held() > 0) {
        more = true
        return ports.release(rows, terms)
      }
    }
    slow.saw(suspect)
    const [first] = rows
    if (first === undefined) return
    if (
      suspect &&
      rows.length === 1 &&
      slow.on &&
      first.attempt > settings.maxAttempts + EXTRA_ATTEMPTS
    )
      ports.giveUp(first, terms)
    else ports.publish(rows, terms)
  }

  for (let granted = await reason(); granted !== undefined; granted = await reason()) {
    try {
      await claim(granted)
      ports.reserve(0)
      if (failures > 0)
        ports.logger.info({ app: ports.app }, 'the outbox storage can be claimed from again')
      failures = 0
    } catch (thrown) {
      ports.reserve(0)
      failures++
      more = true
      sent?.looking.failed(sent.look, sent.startedAt, clock.monotonic())
      sent = undefined
      const fields = { app: ports.app, ...errorFields(thrown) }
      emit('mersal:claim-failed', () => ({ app: ports.app, code: fields.code }))
      if (failures === 1)
        ports.logger.error(
          fields,
          'claiming from the outbox storage failed; trying again with backoff',
        )
      else
        ports.logger.debug({ ...fields, failures }, 'claiming from the outbox storage still fails')
      await clock.sleep(backoffMs(ERROR_BACKOFF, failures, ports.random), ports.stopping)
    }
  }
}
