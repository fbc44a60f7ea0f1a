import { MersalError } from '../core/errors/errors.ts'
import type { ClaimedMessage, ClaimRequest } from '../core/outbox.ts'
import { checkOptions } from '../core/options.ts'
import { emit } from '../core/telemetry.ts'
import { createAgenda } from './claim/agenda.ts'
import type { Terms } from './publish/batch.ts'
import { createBell } from './claim/bell.ts'
import { createBreakers } from './limits/breaker.ts'
import { runClaimLoop } from './claim/claim-loop.ts'
import { watchClock } from './clock/clock-watch.ts'
import { createDrains } from './claim/drains.ts'
import { createEmptiness } from './claim/emptiness.ts'
import { createExpressLane } from './publish/express-lane.ts'
import { bytesOf, createInHand } from './claim/in-hand.ts'
import { relaySettings } from './options.ts'
import { createPauses } from './limits/pauses.ts'
import { createPublisher } from './publish/publisher.ts'
import { createReports } from './reports.ts'
import { createRenewals } from './settle/renewals.ts'
import { roomAlone } from './limits/capacity.ts'
import { createScan } from './claim/scan.ts'
import { createShares } from './claim/shares.ts'
import { createSettler, type Entry } from './settle/settler.ts'
import { killsRelay } from './settle/settle-policy.ts'
import { createSlowMode } from './limits/slow-mode.ts'
import { largestBytes } from './publish/largest-bytes.ts'
import type { Relay, RelayPorts } from './types.ts'
import { createUnknowns } from './settle/unanswered.ts'

/** `stop()` waits this long unless told otherwise. */
const STOP_GRACE_MS = 8000

/**
 * The relay: claims rows of the outbox, publishes them, settles them. It starts nothing by itself;
 * call `start()`. Throws `MERSAL_INVALID_OPTIONS` on options that are not as documented.
 */
export function createRelay(ports: RelayPorts): Relay {
  const { app, clock, logger, random, newToken } = ports
  const settings = relaySettings(ports.options)
  const reports = createReports(app, logger, clock)
  const bell = createBell(clock)
  const room = ports.room?.join(() => bell.nudge()) ?? roomAlone(settings.window)
  const scan = createScan(ports.stretch)
  const othersScan = createScan(ports.stretch)
  const scans = [scan, othersScan]
  const agenda = createAgenda()
  const drains = createDrains()
  const emptiness = createEmptiness()
  const slow = createSlowMode(reports.slowMode)
  const breakers = createBreakers({
    backoff: settings.breaker,
    clock,
    random,
    onChange: reports.breaker,
    onSooner: () => bell.nudge(),
  })
  const pauses = createPauses({
    board: ports.pauses,
    clock,
    onChange: pausesChanged,
    needed: () => settings.express || inHand.rows > 0,
  })
  const inHand = createInHand(clock)
  const shares = createShares({ ...settings, slow: () => inHand.slow() })
  const settler = createSettler({
    app,
    storage: ports.storage,
    clock,
    random,
    logger,
    onGone: gone,
  })
  const publisher = createPublisher({
    app,
    transports: ports.transports,
    breakers,
    pauses,
    settler,
    unknowns: createUnknowns(),
    renewals: createRenewals({
      app,
      storage: ports.storage,
      claimMs: settings.claimMs,
      clock,
      logger,
    }),
    settings,
    clock,
    random,
    tickMs: Math.max(5, Math.min(settings.claimMs / 5, settings.expressGraceMs / 2) / 4),
    onDead: reports.dead,
    onRefused: reports.refused,
  })

  let state: Relay['state'] = 'idle'
  let reserved = 0
  let claims = 0
  let onIdle: (() => void) | undefined
  const stopping = new AbortController()
  let loop: Promise<unknown> = Promise.resolve()
  let stopped: Promise<boolean> | undefined
  const running = (): boolean => state === 'running'

  /** Rows that are settled, or whose claim has ended: they leave the hands of the relay. */
  function gone(entries: readonly Entry[], how: 'settled' | 'dropped'): void {
    for (const { row } of entries) inHand.remove(row)
    room.holds(inHand.rows + reserved)
    const now = clock.monotonic()
    for (const { row, settlement, keepUntil, unblocks } of entries) {
      const { position, message } = row
      const delayMs =
        settlement.kind === 'retry' || settlement.kind === 'release'
          ? (settlement.delayMs ?? 0)
          : undefined
      if (how === 'dropped') agenda.add(keepUntil, position)
      else if (delayMs !== undefined && delayMs > 0) agenda.add(now + delayMs, position)
      else if (unblocks || delayMs === 0 || settlement.kind === 'dead') {
        for (const each of scans) {
          each.wantFull(delayMs === 0 ? position : undefined)
          if (message.partitionKey !== undefined) each.follow(message.partitionKey)
        }
      }
    }
    if (inHand.rows === 0) {
      onIdle?.()
      if (drains.size > 0) {
        scan.forceFull()
        bell.hint()
      }
    }
    bell.nudge()
  }

  const mayTake = (): boolean => !settler.troubled && inHand.bytes * 2 <= settings.windowBytes

  function hold(rows: readonly ClaimedMessage[]): void {
    inHand.add(rows)
    room.holds(inHand.rows + reserved)
  }

  /**
   * Rows of messages that the broker has confirmed, while settling failed, are settled and not
   * published again.
   */
  async function claim(request: ClaimRequest): Promise<readonly ClaimedMessage[]> {
    const keepUntil = clock.monotonic() + request.claimMs
    const rows = await ports.storage.claim({ ...request, buried: reports.dead })
    emit('mersal:claim', () => ({ app, messages: rows.length }))
    const isConfirmed = ({ position, message }: ClaimedMessage): boolean =>
      settler.confirmed(position, message.id)
    if (!rows.some(isConfirmed)) return rows
    const again = rows.filter(isConfirmed)
    hold(again)
    for (const row of again) {
      const { position, token } = row
      settler.add({ row, settlement: { kind: 'sent', position, token }, keepUntil, unblocks: true })
    }
    return rows.filter((row) => !isConfirmed(row))
  }

  function publish(rows: readonly ClaimedMessage[], terms: Terms): void {
    hold(rows)
    publisher.take(rows, terms)
  }

  function release(rows: readonly ClaimedMessage[], terms: Terms): void {
    if (state === 'stopped') return // they fall due by themselves
    hold(rows)
    for (const row of rows) {
      const { position, token } = row
      settler.add({
        row,
        settlement: { kind: 'release', position, token },
        keepUntil: terms.keepUntil,
        unblocks: false,
      })
    }
  }

  function giveUp(row: ClaimedMessage, terms: Terms): void {
    hold([row])
    const settlement = killsRelay(row, settings)
    const done = settlement.kind === 'dead' ? () => reports.dead(row, settlement) : undefined
    settler.add({ row, settlement, keepUntil: terms.keepUntil, unblocks: true, done })
  }

  function hint(by: 'waker' | 'call'): void {
    emit('mersal:wake', () => ({ app, by }))
    bell.hint()
  }

  /** Rows have become due that no scan expects. */
  function lookEverywhere(): void {
    for (const each of scans) each.forceFull()
    bell.hint()
  }

  /** What was left alone may go now; and what is in hand meets the new list when its turn comes. */
  function pausesChanged(): void {
    publisher.withdraw()
    lookEverywhere()
  }

  function startWakers(): Promise<unknown> {
    return Promise.all(
      (ports.wakers ?? []).map(async (waker) => {
        try {
          await waker(() => hint('waker'), { signal: stopping.signal })
        } catch (thrown) {
          reports.waker(thrown)
        }
      }),
    )
  }

  function startLoop(): Promise<void> {
    return runClaimLoop({
      app,
      storage: { claim },
      settings,
      clock,
      random,
      logger,
      newToken,
      bell,
      scan,
      othersScan,
      shares,
      agenda,
      breakers,
      pauses,
      slow,
      running,
      stopping: stopping.signal,
      largestBytes: largestBytes(ports.transports.values()),
      held: () => inHand.rows,
      // After settling has failed, more would be published that cannot be settled either.
      room: (batchSize) => (mayTake() ? room.next(batchSize) : 0),
      free: () => {
        if (!mayTake()) return 0
        return ports.room === undefined
          ? settings.window - inHand.rows
          : room.next(settings.batchSize)
      },
      bytesRoom: () => settings.windowBytes - inHand.bytes,
      reserve(rows) {
        reserved = rows
        room.holds(inHand.rows + reserved)
      },
      publish,
      release,
      giveUp,
      nextNumber: () => ++claims,
      onClaim: (claimed) => {
        const empty = emptiness.claimed(claimed, inHand.rows)
        if (empty !== undefined) drains.empty(empty)
      },
    })
  }

  async function settleRest(): Promise<void> {
    await loop
    if (inHand.rows > 0) await new Promise<void>((resolve) => (onIdle = resolve))
  }

  async function shutDown(graceMs: number): Promise<boolean> {
    if (state === 'running') {
      state = 'stopping'
      stopping.abort()
      bell.nudge()
      publisher.close()
      const over = new AbortController()
      await Promise.race([settleRest(), clock.sleep(graceMs, over.signal)])
      over.abort()
    }
    state = 'stopped'
    publisher.halt()
    settler.halt()
    drains.fail()
    reports.close()
    if (inHand.rows > 0)
      logger.warn(
        { app, messages: inHand.rows },
        'the relay stopped before everything was settled; the rest falls due when its claims end',
      )
    return inHand.rows === 0
  }

  const relay: Relay = {
    get state() {
      return state
    },
    get held() {
      return inHand.rows
    },
    start() {
      if (state === 'running') return
      if (state !== 'idle')
        throw new MersalError('MERSAL_APP_STOPPED', 'this relay has been stopped; create a new one')
      state = 'running'
      loop = Promise.all([startLoop(), startWakers(), pauses.watch(stopping.signal)])
      const watched = {
        app,
        storage: ports.storage.clock,
        settings,
        clock,
        logger,
        onDue: lookEverywhere,
      }
      void watchClock(watched, stopping.signal) // it never rejects, and nothing has to wait for its last look
    },
    wake: () => hint('call'),
    express: createExpressLane({
      app,
      clock,
      logger,
      newToken,
      graceMs: settings.expressGraceMs,
      open: () =>
        settings.express &&
        state === 'running' &&
        pauses.known &&
        !slow.on &&
        !settler.troubled &&
        inHand.rows < settings.window,
      hasRoom: (rows) =>
        inHand.rows + rows.length <= settings.window &&
        rows.filter((row) => inHand.isSlow(row)).length <= shares.slowRoom &&
        inHand.bytes + rows.reduce((sum, row) => sum + bytesOf(row), 0) <= settings.windowBytes,
      publish,
      release,
    }),
    async drain(options = {}) {
      checkOptions('drain', options, ['signal'])
      if (!running())
        throw new MersalError(
          'MERSAL_APP_STOPPED',
          `the relay is ${state}, so nothing drains the outbox; start it first`,
        )
      const drained = drains.wait(claims, options.signal)
      scan.forceFull()
      bell.hint()
      await drained
    },
    stop(options = {}) {
      stopped ??= shutDown(options.graceMs ?? STOP_GRACE_MS)
      return stopped
    },
    async [Symbol.asyncDispose]() {
      await relay.stop()
    },
  }
  return relay
}
