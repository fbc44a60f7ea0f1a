import { MersalError } from '../../../core/errors/errors.ts'
import { checkNumber, checkOptions } from '../../../core/options.ts'
import { type Clock, systemClock } from '../../../lib/async/clock.ts'
import { slots } from '../../../lib/async/slots.ts'

/**
 * Bounds the connections that several stores have together. Give the same budget to each:
 * `postgres({ pool, connections })`.
 */
export interface ConnectionBudget {
  /** Most connections that are open at a time, with those that are being opened or closed. */
  readonly most: number
  /** Most of these that only listen. The stores beyond that are polled. */
  readonly listeners: number
  /** Connections that are open now, or being opened or closed. */
  readonly open: number
  /** For stores. */
  join(): BudgetMember
}

export interface ConnectionBudgetOptions {
  /** At least 4. */
  readonly most: number
  /** At most `most` − 4. Default: half of `most`, or what that bound leaves. */
  readonly listeners?: number
  /** For tests. */
  readonly clock?: Clock
}

/** A connection that is kept open for its next use. */
export interface Kept {
  /** Resolves when the server has let it go, or cannot be asked. */
  close(): Promise<void>
}

/** Leave to work with one connection. */
export interface Turn {
  /** One that was kept; undefined: open a new one. */
  readonly kept: Kept | undefined
  /**
   * The work is over: the connection is kept for the next one, or (undefined) it has gone.
   * `failed`: it is closed, the database may be in trouble.
   */
  over(kept: Kept | undefined, options: { readonly failed: boolean }): void
}

/** One store in the budget. */
export interface BudgetMember {
  /** Waits for its turn; rejects with `MERSAL_UNAVAILABLE` if that has not come within 15 s. */
  take(): Promise<Turn>
  /** A connection that was kept has died. */
  lost(kept: Kept): void
  /**
   * Resolves to true when this store may have a connection that only listens, to false when the
   * signal aborts before.
   */
  mayListen(signal: AbortSignal): Promise<boolean>
  mayListenNoMore(): void
  /** Waits for room for that connection. */
  takeListening(): Promise<void>
  giveBackListening(): void
  /** Closes what is kept, and refuses who waits. */
  leave(): Promise<void>
}

/**
 * A claim and a settle at the same time, or two connections to find a pooler: no store needs more.
 */
const MOST_EACH = 2
const LONGEST_WAIT_MS = 15_000
/** Whoever works longer with a connection has a database in trouble. */
const SLOW_MS = 1000

interface Member {
  /** Work under way; monotonic times at which it began. */
  readonly working: Set<{ readonly since: number }>
  readonly kept: Kept[]
  failed: boolean
  left: boolean
}

interface Request {
  readonly member: Member
  readonly listening: boolean
  readonly grant: (kept: Kept | undefined) => void
  readonly refuse: (error: Error) => void
}

/**
 * The rules, in the order in which somebody waits, but nobody waits behind another one who cannot
 * go on: a store works with at most two connections; the last one is left to stores that have one
 * already, since they may need the second to finish; and stores whose database is in trouble (a
 * failure, or more than a second of work) have half of the turns between them. What is kept open
 * but not used is closed when another needs its place.
 */
export function connectionBudget(options: ConnectionBudgetOptions): ConnectionBudget {
  checkOptions('connectionBudget', options, ['most', 'listeners', 'clock'])
  const most = checkNumber('connectionBudget.most', options.most ?? Number.NaN, {
    default: 0,
    min: 4,
    max: 100_000,
  })
  const preset = Math.min(most >> 1, most - 4)
  const listeners = checkNumber('connectionBudget.listeners', options.listeners, {
    default: preset,
    min: 0,
    max: most - 4,
  })
  return createBudget({ most, listeners, clock: options.clock ?? systemClock })
}

function createBudget({
  most,
  listeners,
  clock,
}: Required<ConnectionBudgetOptions>): ConnectionBudget {
  const listening = slots(listeners)
  const line = new Set<Request>()
  /** Those that work, so that a thousand others cost nothing. */
  const busy = new Set<Member>()
  /** The one that has been kept longest is the first. */
  const keeping = new Map<Kept, Member>()
  let working = 0
  let open = 0
  let closing = 0

  function inTrouble(member: Member): boolean {
    const now = clock.monotonic()
    return member.failed || [...member.working].some(({ since }) => now - since > SLOW_MS)
  }

  function mayWork(member: Member): boolean {
    const all = most - listening.taken
    if (member.working.size >= MOST_EACH) return false
    if (member.working.size > 0) return working < all
    if (working >= all - 1) return false
    if (!inTrouble(member)) return true
    const troubled = [...busy].filter(inTrouble).reduce((sum, one) => sum + one.working.size, 0)
    return troubled < Math.max(1, all >> 1)
  }

  /** Grants what can be granted, and makes place for what needs a new connection. */
  function serve(): void {
    let wanted = 0
    for (const request of line) {
      const { member, listening: listens } = request
      if (!listens && !mayWork(member)) continue
      const kept = listens ? undefined : member.kept.pop()
      if (kept === undefined && open >= most) {
        wanted++
        continue
      }
      if (kept === undefined) open++
      else keeping.delete(kept)
      line.delete(request)
      request.grant(kept)
    }
    for (let missing = wanted - closing; missing > 0; missing--) if (!evict()) return
  }

  function evict(): boolean {
    const [longest] = keeping
    if (longest === undefined) return false
    drop(...longest)
    return true
  }

  function drop(kept: Kept, member: Member): void {
    keeping.delete(kept)
    member.kept.splice(member.kept.indexOf(kept), 1)
    void close(kept)
  }

  async function close(kept: Kept): Promise<void> {
    closing++
    try {
      await kept.close()
    } finally {
      closing--
      open--
      serve()
    }
  }

  /** The beginning of work, and its end. */
  function turn(member: Member, kept: Kept | undefined): Turn {
    const work = { since: clock.monotonic() }
    member.working.add(work)
    busy.add(member)
    working++
    return {
      kept,
      over(keep, { failed }) {
        if (!member.working.delete(work)) return
        if (member.working.size === 0) busy.delete(member)
        working--
        member.failed = failed || clock.monotonic() - work.since > SLOW_MS
        if (keep === undefined) open--
        else if (member.left || failed) void close(keep)
        else {
          member.kept.push(keep)
          keeping.set(keep, member)
        }
        serve()
      },
    }
  }

  function take(member: Member): Promise<Turn> {
    if (member.left) return Promise.reject(gone())
    return new Promise((resolve, reject) => {
      const over = new AbortController()
      const request: Request = {
        member,
        listening: false,
        grant(kept) {
          over.abort()
          resolve(turn(member, kept))
        },
        refuse(error) {
          over.abort()
          reject(error)
        },
      }
      line.add(request)
      serve()
      if (line.has(request)) void refuseLater(request, over.signal)
    })
  }

  async function refuseLater(request: Request, over: AbortSignal): Promise<void> {
    await clock.sleep(LONGEST_WAIT_MS, over)
    if (line.delete(request)) request.refuse(noneFree(most))
  }

  function takeListening(member: Member): Promise<void> {
    if (member.left) return Promise.reject(gone())
    return new Promise((resolve, refuse) => {
      line.add({ member, listening: true, grant: () => resolve(), refuse })
      serve()
    })
  }

  async function leave(member: Member): Promise<void> {
    member.left = true
    for (const request of line) {
      if (request.member !== member) continue
      line.delete(request)
      request.refuse(gone())
    }
    for (const kept of member.kept) keeping.delete(kept)
    await Promise.all(member.kept.splice(0).map(close))
  }

  return {
    most,
    listeners,
    get open() {
      return open
    },
    join() {
      const member: Member = { working: new Set(), kept: [], failed: false, left: false }
      return {
        take: () => take(member),
        lost(kept) {
          if (keeping.has(kept)) drop(kept, member)
        },
        mayListen: (signal) => listening.take(signal),
        mayListenNoMore() {
          listening.giveBack()
          serve()
        },
        takeListening: () => takeListening(member),
        giveBackListening() {
          open--
          serve()
        },
        leave: () => leave(member),
      }
    },
  }
}

function noneFree(most: number): MersalError {
  const text = `no connection came free for ${LONGEST_WAIT_MS / 1000} s; all ${most} of the budget are in use`
  return new MersalError('MERSAL_UNAVAILABLE', text)
}

function gone(): MersalError {
  return new MersalError('MERSAL_APP_STOPPED', 'this store has been closed')
}
