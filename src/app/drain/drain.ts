import { AsyncLocalStorage } from 'node:async_hooks'
import { checkNumber, checkOptions, checkSignal } from '../../core/options.ts'
import { type LinkedAbort, abortable, linkAbort } from '../../lib/async/linked-abort.ts'
import { type AppRelay, relayOn } from '../app-relay.ts'
import { type AppState, appStopped } from '../lifecycle.ts'
import type { Settings } from '../settings/settings.ts'
import { boundedInside } from '../unit/joining.ts'
import { type Counts, since, type Tally, tallied } from './tally.ts'

/** Bounds of `drain()`. */
export interface DrainOptions {
  /**
   * Ends the call when this number of messages was published, given up or refused, from 1 on.
   * Default: no such bound. Tries to destinations that are away do not count.
   */
  readonly maxMessages?: number
  /**
   * By when it has ended, in milliseconds from the call, from 1 to a day. The last quarter, but at
   * most a second, is kept for confirming and settling what is in hand. Default: no such bound.
   */
  readonly deadlineMs?: number
  /**
   * Gives it up: what is in hand is settled, then the call rejects with the reason. Default none.
   */
  readonly signal?: AbortSignal
}

/** What a call of `drain()` has done. */
export interface Drained {
  /** Messages that have left the outbox: confirmed, or discarded since they had expired. */
  readonly published: number
  /** Messages that were given up, and are dead letters now. */
  readonly dead: number
  /**
   * Tries that no broker has confirmed: the destination is away, or has refused the message. It
   * stays in the outbox and waits for another try. Above 0, something is wrong.
   */
  readonly unconfirmed: number
  /** A bound was reached before nothing that is due was left: call again. */
  readonly more: boolean
  /** What ended it. */
  readonly ended: 'nothing-left' | 'max-messages' | 'deadline'
}

/** Publishes what waits in the outbox, by the relay of the app or by one for each call. */
export interface Draining {
  drain(options: DrainOptions): Promise<Drained>
  /**
   * Ends the calls in progress. What is in hand is confirmed and settled within `graceMs`. Returns
   * whether all of it was.
   */
  stop(options: { readonly graceMs: number }): Promise<boolean>
}

interface DrainPorts<Tx> {
  readonly settings: Settings<Tx>
  readonly relay: AppRelay
  readonly open: () => Promise<void>
  readonly place: () => {
    readonly state: AppState
    readonly outer: { readonly open: boolean } | undefined
  }
}

type Ended = Drained['ended']

interface Bounds {
  readonly maxMessages: number
  readonly deadlineMs: number
}

/** One call: its bounds, and how it is ended. */
interface Call extends Bounds {
  readonly link: LinkedAbort
  readonly leftMs: () => number
}

const A_DAY_MS = 86_400_000
/** Kept of the time for confirms and settling: this part, and no more than a second. */
const LAST_PART = 4
const LAST_MS = 1000

/** Reasons with which a call ends well. */
const reached = {
  'max-messages': new Error('the number of messages that was asked for has left'),
  deadline: new Error('the deadline has come'),
} as const

export function createDraining<Tx>(ports: DrainPorts<Tx>): Draining {
  const running = new Set<Pick<AppRelay, 'stop'>>()
  // What a call starts must not carry the request or the transaction around it along.
  const inOwnContext = AsyncLocalStorage.snapshot()
  return {
    async drain(options) {
      const { settings, relay } = ports
      const bounds = boundsOf(options)
      if (settings.storage === undefined) return result(none, 'nothing-left')
      const { state, outer } = ports.place()
      if (state === 'stopping' || state === 'stopped') throw appStopped(settings.name, 'drain()')
      using call = begin(bounds, settings, options.signal)
      const { clock } = settings
      const inside = { what: 'drain()', clock, outer, abort: call.link.abort.bind(call.link) }
      return await boundedInside(inside, () =>
        relay.state === 'idle'
          ? byOwnRelay(ports, call, { running, inOwnContext })
          : byRelay(relay, call),
      )
    },
    async stop({ graceMs }) {
      const settled = await Promise.all([...running].map((relay) => relay.stop({ graceMs })))
      return settled.every(Boolean)
    },
  }
}

function boundsOf(options: DrainOptions): Bounds {
  checkOptions('drain()', options, ['maxMessages', 'deadlineMs', 'signal'])
  checkSignal('drain().signal', options.signal)
  const { maxMessages, deadlineMs } = options
  const most = { min: 1, max: Number.MAX_SAFE_INTEGER, default: Infinity }
  const latest = { min: 1, max: A_DAY_MS, default: Infinity, integer: false }
  return {
    maxMessages: checkNumber('drain().maxMessages', maxMessages, most),
    deadlineMs: checkNumber('drain().deadlineMs', deadlineMs, latest),
  }
}

function begin(
  bounds: Bounds,
  { clock }: Pick<Settings<never>, 'clock'>,
  signal: AbortSignal | undefined,
): Call & Disposable {
  const { deadlineMs } = bounds
  const deadline = clock.monotonic() + deadlineMs
  const over = new AbortController()
  const link = linkAbort(signal)
  if (deadlineMs !== Infinity) {
    const claimMs = deadlineMs - Math.min(LAST_MS, deadlineMs / LAST_PART)
    void clock.sleep(claimMs, over.signal).then(() => link.abort(reached.deadline))
  }
  return {
    ...bounds,
    link,
    leftMs: () => Math.max(0, deadline - clock.monotonic()),
    [Symbol.dispose]() {
      over.abort('over')
      link[Symbol.dispose]()
    },
  }
}

/** By the relay that runs in the app. It goes on, so the bounds end the waiting only. */
async function byRelay(relay: AppRelay, call: Call): Promise<Drained> {
  const before = { ...relay.tally.counts }
  const counts = (): Counts => since(before, relay.tally.counts)
  const ended = await untilEnded({ relay, tally: relay.tally, counts }, call)
  return result(counts(), ended)
}

interface Surroundings {
  readonly running: Set<Pick<AppRelay, 'stop'>>
  readonly inOwnContext: <Result>(work: () => Result) => Result
}

/** By a relay of this call alone, which is stopped at its end. */
async function byOwnRelay<Tx>(
  { settings, open }: DrainPorts<Tx>,
  call: Call,
  { running, inOwnContext }: Surroundings,
): Promise<Drained> {
  const opened = await endedBy(abortable(call.link.signal, open))
  if (opened !== 'nothing-left') return result(none, opened)
  const { storage, tally } = tallied(settings.storage as never, call.maxMessages)
  // Nothing is committed for the log while this call alone drains.
  const own = { ...settings.relay, commitLog: false }
  const relay = relayOn({ ...settings, capacity: undefined, relay: own }, storage, [])
  const counts = (): Counts => tally.counts
  running.add(relay)
  let ended: Ended
  let held = 0
  try {
    inOwnContext(() => relay.start())
    ended = await untilEnded({ relay, tally, counts }, call)
  } finally {
    await relay.stop({ graceMs: Math.min(call.leftMs(), settings.stopGraceMs) })
    held = relay.held
    running.delete(relay)
  }
  if (ended === 'nothing-left' && tally.cut) ended = 'max-messages'
  return result({ ...counts(), unconfirmed: counts().unconfirmed + held }, ended)
}

interface Work {
  readonly relay: Pick<AppRelay, 'drain'>
  readonly tally: Tally
  /** Of this call. */
  readonly counts: () => Counts
}

async function untilEnded(
  { relay, tally, counts }: Work,
  { link, maxMessages }: Call,
): Promise<Ended> {
  const unfollow = tally.follow(() => {
    const { published, dead } = counts()
    if (published + dead >= maxMessages) link.abort(reached['max-messages'])
  })
  try {
    return await endedBy(relay.drain({ signal: link.signal }))
  } finally {
    unfollow()
  }
}

async function endedBy(work: Promise<void>): Promise<Ended> {
  try {
    await work
    return 'nothing-left'
  } catch (thrown) {
    if (thrown === reached.deadline) return 'deadline'
    if (thrown === reached['max-messages']) return 'max-messages'
    throw thrown
  }
}

const none: Counts = { published: 0, dead: 0, unconfirmed: 0 }

function result({ published, dead, unconfirmed }: Counts, ended: Ended): Drained {
  return { published, dead, unconfirmed, more: ended !== 'nothing-left', ended }
}
