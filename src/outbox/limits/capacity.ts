/** Rows that the next claim may bring. */
export interface Room {
  /** For a claim of the usual size; 0: wait until there is room for it. */
  readonly whole: number
  /** As many as still fit into the window. */
  readonly free: number
}

export const NO_ROOM: Room = { whole: 0, free: 0 }

/** How many messages a relay may have in its hands. */
export interface Capacity {
  /** Rows that its next claim may take, at most `batchSize`; 0: it waits for a nudge. */
  next(batchSize: number): number
  /** Rows that there is room for, whether that is enough for a claim of `batchSize` or not. */
  free(batchSize: number): number
  /** Whether it may take `more` rows that its own process has committed, without a claim. */
  lane(held: number, more: number): boolean
  /** What it has in hand, with what a claim under way may bring. Told at every change. */
  holds(count: number): void
}

/** All of the window for one relay, which claims whole batches. */
export function ownCapacity(window: number): Capacity {
  let held = 0
  return {
    next: (batchSize) => (held + batchSize <= window ? batchSize : 0),
    free: () => window - held,
    lane: (rows, more) => rows + more <= window,
    holds(count) {
      held = count
    },
  }
}

/** One window for several relays. */
export interface SharedCapacity {
  /**
   * Messages in the hands of all of them, with what claims under way may bring. Never more than the
   * window.
   */
  readonly held: number
  /** One more relay; `nudge` is called when there may be room for it again. */
  join(nudge: () => void): JoinedCapacity
}

export interface JoinedCapacity extends Capacity {
  /** The relay has stopped: its share goes to the others. */
  leave(): void
}

interface Member {
  held: number
  /** When its process last committed messages. */
  workedAt: number
  /** When its last claim began. */
  claimedAt: number
  /** It wanted rows and got none. */
  waits: boolean
  readonly nudge: () => void
}

/**
 * Half of the window is divided: that share is there for a relay whatever the others hold, so that
 * none of them, with a backlog or with a destination that does not answer, can keep it from
 * working. The other half goes to whoever asks. A relay with empty hands takes what there is; one
 * that holds something waits for a good part, since many small claims cost more than a few large
 * ones.
 */
export function shareCapacity({
  window,
  relays,
}: {
  readonly window: number
  readonly relays: number
}): SharedCapacity {
  return new Shared(() => ({ window, relays }))
}

export interface ChangingCapacityPorts {
  /** Size of the window for this number of relays. */
  readonly windowOf: (relays: number) => number
  /** Monotonic, in milliseconds. */
  readonly now: () => number
}

/**
 * The same for relays that come and go, in a process that commits messages itself. While others
 * work, a relay claims few rows at a time: a large claim takes the one thread for so long that they
 * would notice.
 */
export function changingCapacity({ windowOf, now }: ChangingCapacityPorts): SharedCapacity {
  return new Shared((relays) => ({ window: windowOf(relays), relays }), now)
}

/** Rows of a claim while others work, and the shortest time between two such claims. */
const CLAIM_BESIDE_OTHERS = 50
const REST_MS = 40
/** How long others count as working after they have committed messages. */
const WORKING_MS = 1000
const NEVER = Number.NEGATIVE_INFINITY

class Shared implements SharedCapacity {
  readonly #sizes: (relays: number) => { readonly window: number; readonly relays: number }
  readonly #members = new Set<Member>()
  /** Undefined: claims are never made small for the sake of others. */
  readonly #now: (() => number) | undefined
  #own = 1
  #common = 0
  /** Of the common half. */
  #taken = 0

  constructor(
    sizes: (relays: number) => { readonly window: number; readonly relays: number },
    now?: () => number,
  ) {
    this.#sizes = sizes
    this.#now = now
  }

  get held(): number {
    return [...this.#members].reduce((sum, { held }) => sum + held, 0)
  }

  join(nudge: () => void): JoinedCapacity {
    const member: Member = { held: 0, workedAt: NEVER, claimedAt: NEVER, waits: false, nudge }
    this.#members.add(member)
    this.#divide()
    return {
      next: (batchSize) => this.#next(member, batchSize),
      free: (batchSize) => this.#next(member, batchSize),
      // Its own share is there in any case, also while a claim under way may use it.
      lane: (rows, more) => {
        member.workedAt = this.#now?.() ?? member.workedAt
        return rows + more <= this.#own || more <= this.#roomOf(member)
      },
      holds: (count) => this.#holds(member, count),
      leave: () => {
        this.#members.delete(member)
        this.#divide()
        this.#offer()
      },
    }
  }

  #divide(): void {
    const { window, relays } = this.#sizes(this.#members.size)
    this.#own = Math.max(1, Math.floor(window / (2 * Math.max(1, relays))))
    this.#common = Math.max(0, window - this.#own * relays)
    this.#taken = [...this.#members].reduce((sum, { held }) => sum + this.#fromCommon(held), 0)
  }

  #fromCommon(held: number): number {
    return Math.max(0, held - this.#own)
  }

  #roomOf({ held }: Member): number {
    return Math.max(0, this.#own - held) + Math.max(0, this.#common - this.#taken)
  }

  #next(member: Member, wanted: number): number {
    const now = this.#now?.() ?? 0
    const beside = this.#besideOthers(member, now)
    const batchSize = beside ? Math.min(wanted, CLAIM_BESIDE_OTHERS) : wanted
    const rests = beside && now - member.claimedAt < REST_MS
    const room = Math.min(batchSize, this.#roomOf(member))
    const half = Math.ceil((this.#own + this.#common) / 2)
    const least = member.held === 0 ? 1 : Math.min(batchSize, half)
    member.waits = rests || room < least
    return member.waits ? 0 : room
  }

  #besideOthers(member: Member, now: number): boolean {
    const since = now - WORKING_MS
    for (const other of this.#members) if (other !== member && other.workedAt > since) return true
    return false
  }

  #holds(member: Member, count: number): void {
    if (count > member.held) member.claimedAt = this.#now?.() ?? NEVER
    const less = count < member.held
    if (this.#members.has(member))
      this.#taken += this.#fromCommon(count) - this.#fromCommon(member.held)
    member.held = count
    if (less) this.#offer()
  }

  /** Those with the emptiest hands first. */
  #offer(): void {
    const waiting = [...this.#members].filter(({ waits }) => waits).sort((a, b) => a.held - b.held)
    for (const { nudge } of waiting) nudge()
  }
}
