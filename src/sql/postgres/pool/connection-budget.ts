import { MersalError } from '../../../core/errors/errors.ts'
import { checkClock, checkNumber, checkOptions } from '../../../core/options.ts'
import type { Clock } from '../../../lib/async/clock.ts'
import { type Slots, slots } from '../../../lib/async/slots.ts'

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
  /** Most connections of all its stores together. From 4 to 100,000. */
  readonly most: number
  /** How many may only listen. From 0 to `most` − 4. Default: half, or what that bound leaves. */
  readonly listeners?: number
  /** For tests. Default: the clock of the system. */
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

class Member {
  /** Work under way; monotonic times at which it began. */
  readonly working = new Set<{ readonly since: number }>()
  readonly kept: Kept[] = []
  failed = false
  left = false

  /** Its database may be in trouble. */
  inTrouble(now: number): boolean {
    return this.failed || [...this.working].some(({ since }) => now - since > SLOW_MS)
  }
}

interface Request {
  readonly member: Member
  readonly listening: boolean
  readonly grant: (kept: Kept | undefined) => void
  readonly refuse: (error: Error) => void
}

/**
 * Bounds the connections of several stores together: give it to each as `connections`. A store works
 * with at most two. The last one is left to stores that have one already. Stores whose database is
 * in trouble (a failure, or more than a second of work) have half of the turns. Nobody waits behind
 * another one who cannot go on. What is open but not used is closed when another needs its place.
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
  return new Budget(most, listeners, checkClock('connectionBudget.clock', options.clock))
}

class Budget implements ConnectionBudget {
  readonly most: number
  readonly listeners: number
  readonly #clock: Clock
  readonly #listening: Slots
  readonly #line = new Set<Request>()
  /** Those that work, so that a thousand others cost nothing. */
  readonly #busy = new Set<Member>()
  /** The one that has been kept longest is the first. */
  readonly #keeping = new Map<Kept, Member>()
  #working = 0
  #open = 0
  #closing = 0

  constructor(most: number, listeners: number, clock: Clock) {
    this.most = most
    this.listeners = listeners
    this.#clock = clock
    this.#listening = slots(listeners)
  }

  get open(): number {
    return this.#open
  }

  join(): BudgetMember {
    const member = new Member()
    return {
      take: () => this.#take(member),
      lost: (kept) => {
        if (this.#keeping.has(kept)) this.#drop(kept, member)
      },
      mayListen: (signal) => this.#listening.take(signal),
      mayListenNoMore: () => {
        this.#listening.giveBack()
        this.#serve()
      },
      takeListening: () => this.#takeListening(member),
      giveBackListening: () => {
        this.#open--
        this.#serve()
      },
      leave: () => this.#leave(member),
    }
  }

  #mayWork(member: Member): boolean {
    const all = this.most - this.#listening.taken
    if (member.working.size >= MOST_EACH) return false
    if (member.working.size > 0) return this.#working < all
    if (this.#working >= all - 1) return false
    const now = this.#clock.monotonic()
    if (!member.inTrouble(now)) return true
    const troubled = [...this.#busy].filter((one) => one.inTrouble(now))
    const turns = troubled.reduce((sum, one) => sum + one.working.size, 0)
    return turns < Math.max(1, all >> 1)
  }

  /** Grants what can be granted, and makes place for what needs a new connection. */
  #serve(): void {
    let wanted = 0
    for (const request of this.#line) if (this.#grant(request) === 'no place') wanted++
    for (let missing = wanted - this.#closing; missing > 0; missing--) if (!this.#evict()) return
  }

  #grant(request: Request): 'granted' | 'not its turn' | 'no place' {
    const { member, listening } = request
    if (!listening && !this.#mayWork(member)) return 'not its turn'
    const kept = listening ? undefined : member.kept.pop()
    if (kept === undefined && this.#open >= this.most) return 'no place'
    if (kept === undefined) this.#open++
    else this.#keeping.delete(kept)
    this.#line.delete(request)
    request.grant(kept)
    return 'granted'
  }

  #evict(): boolean {
    const [longest] = this.#keeping
    if (longest === undefined) return false
    this.#drop(...longest)
    return true
  }

  #drop(kept: Kept, member: Member): void {
    this.#keeping.delete(kept)
    member.kept.splice(member.kept.indexOf(kept), 1)
    void this.#close(kept)
  }

  async #close(kept: Kept): Promise<void> {
    this.#closing++
    try {
      await kept.close()
    } finally {
      this.#closing--
      this.#open--
      this.#serve()
    }
  }

  /** The beginning of work, and its end. */
  #turn(member: Member, kept: Kept | undefined): Turn {
    const work = { since: this.#clock.monotonic() }
    member.working.add(work)
    this.#busy.add(member)
    this.#working++
    return {
      kept,
      over: (keep, { failed }) => {
        if (!member.working.delete(work)) return
        if (member.working.size === 0) this.#busy.delete(member)
        this.#working--
        member.failed = failed || this.#clock.monotonic() - work.since > SLOW_MS
        this.#keep(keep, member, failed)
        this.#serve()
      },
    }
  }

  #keep(keep: Kept | undefined, member: Member, failed: boolean): void {
    if (keep === undefined) this.#open--
    else if (member.left || failed) void this.#close(keep)
    else {
      member.kept.push(keep)
      this.#keeping.set(keep, member)
    }
  }

  #take(member: Member): Promise<Turn> {
    if (member.left) return Promise.reject(gone())
    return new Promise((resolve, reject) => {
      const over = new AbortController()
      const request: Request = {
        member,
        listening: false,
        grant: (kept) => {
          over.abort()
          resolve(this.#turn(member, kept))
        },
        refuse(error) {
          over.abort()
          reject(error)
        },
      }
      this.#line.add(request)
      this.#serve()
      if (this.#line.has(request)) void this.#refuseLater(request, over.signal)
    })
  }

  async #refuseLater(request: Request, over: AbortSignal): Promise<void> {
    await this.#clock.sleep(LONGEST_WAIT_MS, over)
    if (this.#line.delete(request)) request.refuse(noneFree(this.most))
  }

  #takeListening(member: Member): Promise<void> {
    if (member.left) return Promise.reject(gone())
    return new Promise((resolve, refuse) => {
      this.#line.add({ member, listening: true, grant: () => resolve(), refuse })
      this.#serve()
    })
  }

  async #leave(member: Member): Promise<void> {
    member.left = true
    for (const request of this.#line) {
      if (request.member !== member) continue
      this.#line.delete(request)
      request.refuse(gone())
    }
    for (const kept of member.kept) this.#keeping.delete(kept)
    await Promise.all(member.kept.splice(0).map((kept) => this.#close(kept)))
  }
}

function noneFree(most: number): MersalError {
  const text = `no connection came free for ${LONGEST_WAIT_MS / 1000} s; all ${most} of the budget are in use`
  return new MersalError('MERSAL_UNAVAILABLE', text)
}

function gone(): MersalError {
  return new MersalError('MERSAL_APP_STOPPED', 'this store has been closed')
}
