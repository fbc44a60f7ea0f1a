import { MersalError } from '../core/errors/errors.ts'
import { checkOptions } from '../core/options.ts'
import type { ClaimedMessage } from '../core/outbox.ts'
import { emit } from '../core/telemetry.ts'
import { type ClaimCondition, newClaimCondition, runClaimLoop } from './claim/claim-loop.ts'
import { createLogLane, type LogLane } from './log/log-lane.ts'
import { type SettlingAgain, settlingAgain } from './log/settle-again.ts'
import { watchClock } from './clock/clock-watch.ts'
import { createExpressLane } from './publish/express-lane.ts'
import { largestBytes } from './publish/largest-bytes.ts'
import { type RelayParts, relayParts } from './relay-parts.ts'
import type { ExpressOffer, Relay, RelayPorts } from './types.ts'

/** `stop()` waits this long unless told otherwise. */
const STOP_GRACE_MS = 8000

/** What a relay does at this moment. */
interface Life {
  state: Relay['state']
  /** Aborts when the relay stops. */
  readonly stopping: AbortController
  /** Resolves when the loop, the wakers and the reading of pauses have ended. */
  work: Promise<unknown>
  readonly claims: ClaimCondition
  readonly again: SettlingAgain
  /** While it reads the commit log. */
  lane: LogLane | undefined
}

/**
 * The relay: claims rows of the outbox, publishes them, settles them. Nothing runs before
 * `start()`.
 */
export function createRelay(ports: RelayPorts): Relay {
  const life: Life = {
    state: 'idle',
    stopping: new AbortController(),
    work: Promise.resolve(),
    claims: newClaimCondition(),
    again: settlingFor(ports),
    lane: undefined,
  }
  const parts = relayParts(ports, {
    settle: (settlements) => life.again.settle(settlements),
    onRoom: () => life.lane?.room(),
  })
  let stopped: Promise<boolean> | undefined
  const relay: Relay = {
    get state() {
      return life.state
    },
    get held() {
      return parts.inHand.rows
    },
    condition: {
      claims: life.claims,
      away: parts.reports.away,
      get settleFailures() {
        return parts.settler.failures
      },
      get settleAskedAt() {
        return parts.settler.askedAt
      },
    },
    start: () => start(ports, parts, life),
    wake: () => hint(ports, parts, 'call'),
    express: expressLane(ports, parts, life),
    async drain(options = {}) {
      checkOptions('drain', options, ['signal'])
      await drain(parts, life, options.signal)
    },
    stop(options = {}) {
      stopped ??= stop(ports, parts, life, options.graceMs ?? STOP_GRACE_MS)
      return stopped
    },
    async [Symbol.asyncDispose]() {
      await relay.stop()
    },
  }
  return relay
}

/** What the log tells of is settled again if it was too early; nothing else is. */
function settlingFor({ environment, settings, storage }: RelayPorts): SettlingAgain {
  const settle: SettlingAgain['settle'] = (all) => storage.settle(all)
  const { app, clock } = environment
  const ended = (messages: number, stale: number): void =>
    emit('mersal:settle', () => ({ app, messages, stale }))
  if (settings.commitLog) return settlingAgain(settle, clock, ended)
  return { settle, idle: () => Promise.resolve(), halt: () => {} }
}

function start(ports: RelayPorts, parts: RelayParts, life: Life): void {
  const { state, stopping } = life
  if (state === 'running') return
  if (state !== 'idle')
    throw new MersalError('MERSAL_APP_STOPPED', 'this relay has been stopped; create a new one')
  life.state = 'running'
  const { signal } = stopping
  life.work = Promise.all([
    claims(ports, parts, life),
    runWakers(ports, parts, signal),
    followLog(ports, parts, life),
    parts.due.run(signal),
    parts.holdBacks.claims.pauses.watch(signal),
  ])
  // It never rejects, and nothing has to wait for its last look.
  void watchClock(
    {
      environment: ports.environment,
      storage: ports.storage.clock,
      settings: ports.settings,
      onDue() {
        parts.looks.everywhere()
        parts.bell.hint()
      },
    },
    signal,
  )
}

function claims(ports: RelayPorts, parts: RelayParts, life: Life): Promise<void> {
  const { bell, dispatch, drains, holdBacks, inHand, looks, reports, settler } = parts
  const { environment, settings, storage, transports } = ports
  const claims = {
    environment,
    storage,
    settings,
    looks,
    inHand,
    holdBacks: holdBacks.claims,
    dispatch,
    drains,
    largestBytes: largestBytes(transports.values()),
    reports,
  }
  const loop = { claims, bell, dispatch, settler, condition: life.claims }
  return runClaimLoop(loop, life.stopping.signal)
}

async function runWakers(ports: RelayPorts, parts: RelayParts, signal: AbortSignal): Promise<void> {
  const run = async (waker: NonNullable<RelayPorts['wakers']>[number]): Promise<void> => {
    try {
      await waker(() => hint(ports, parts, 'waker'), { signal })
    } catch (thrown) {
      parts.reports.waker(thrown)
    }
  }
  await Promise.all((ports.wakers ?? []).map(run))
}

function hint({ environment }: RelayPorts, { bell, due }: RelayParts, by: 'waker' | 'call'): void {
  emit('mersal:wake', () => ({ app: environment.app, by }))
  bell.hint()
  due.hint()
}

function expressLane(
  { environment, settings }: RelayPorts,
  { dispatch, holdBacks, inHand, settler }: RelayParts,
  life: Life,
): () => ExpressOffer | undefined {
  const { lane } = holdBacks
  const open = (): boolean =>
    settings.express === true &&
    life.state === 'running' &&
    lane.open &&
    !settler.troubled &&
    !inHand.full
  const hasRoom = (rows: readonly ClaimedMessage[]): boolean =>
    inHand.fits(rows) && lane.takes(rows)
  return createExpressLane({
    environment,
    graceMs: settings.expressGraceMs,
    open,
    hasRoom,
    dispatch,
  })
}

/** Publishes what the log of commits tells, until the relay stops. */
async function followLog(ports: RelayPorts, parts: RelayParts, life: Life): Promise<void> {
  const { environment, log, settings } = ports
  if (!settings.commitLog || log === undefined) return
  const { dispatch, holdBacks, inHand, settler } = parts
  const { signal } = life.stopping
  const lane = createLogLane({
    environment,
    open: () => !signal.aborted && holdBacks.lane.open && !settler.troubled,
    hasRoom: (rows) =>
      inHand.fits(rows) && inHand.room().free >= Math.min(rows.length, settings.batchSize),
    mayTake: (rows) => holdBacks.lane.takes(rows),
    dispatch,
    wake: () => hint(ports, parts, 'waker'),
    signal,
  })
  life.lane = lane
  try {
    await log.follow(lane, { signal })
  } catch (thrown) {
    parts.reports.waker(thrown)
  }
}

async function drain(
  { bell, drains, looks }: RelayParts,
  { state }: Life,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (state !== 'running')
    throw new MersalError(
      'MERSAL_APP_STOPPED',
      `the relay is ${state}, so nothing drains the outbox; start it first`,
    )
  const drained = drains.wait(signal)
  looks.prove()
  bell.hint()
  await drained
}

async function stop(
  { environment }: RelayPorts,
  parts: RelayParts,
  life: Life,
  graceMs: number,
): Promise<boolean> {
  const { inHand } = parts
  if (life.state === 'running') await settleRest(environment.clock, parts, life, graceMs)
  life.state = 'stopped'
  parts.publisher.halt()
  parts.settler.halt()
  life.again.halt()
  parts.drains.fail()
  parts.reports.close()
  if (inHand.rows === 0) return true
  environment.logger.warn(
    { app: environment.app, messages: inHand.rows },
    'the relay stopped before everything was settled; the rest falls due when its claims end',
  )
  return false
}

/** No new claims; what is in flight has the grace period to be confirmed and settled. */
async function settleRest(
  clock: RelayPorts['environment']['clock'],
  { bell, inHand, publisher }: RelayParts,
  life: Life,
  graceMs: number,
): Promise<void> {
  life.state = 'stopping'
  life.stopping.abort()
  bell.nudge()
  publisher.close()
  const over = new AbortController()
  const settled = life.work.then(() => inHand.idle()).then(() => life.again.idle())
  await Promise.race([settled, clock.sleep(graceMs, over.signal)])
  over.abort()
}
