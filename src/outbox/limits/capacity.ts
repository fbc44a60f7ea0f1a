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
  /** What it has in hand, with what a claim under way may bring. Told at every change. */
  holds(count: number): void
}

/** All of the window for one relay, which claims whole batches. */
export function ownCapacity(window: number): Capacity {
  let held = 0
  return {
    next: (batchSize) => (held + batchSize <= window ? batchSize : 0),
    free: () => window - held,
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
  join(nudge: () => void): Capacity
}

interface Member {
  held: number
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
  const own = Math.max(1, Math.floor(window / (2 * relays)))
  const common = Math.max(0, window - own * relays)
  const members = new Set<Member>()
  let taken = 0

  const fromCommon = (held: number): number => Math.max(0, held - own)
  const roomOf = ({ held }: Member): number => Math.max(0, own - held) + Math.max(0, common - taken)

  function next(member: Member, batchSize: number): number {
    const room = Math.min(batchSize, roomOf(member))
    const least = member.held === 0 ? 1 : Math.min(batchSize, Math.ceil((own + common) / 2))
    member.waits = room < least
    return member.waits ? 0 : room
  }

  /** Those with the emptiest hands first. */
  function offer(): void {
    const waiting = [...members].filter(({ waits }) => waits).sort((a, b) => a.held - b.held)
    for (const { nudge } of waiting) nudge()
  }

  return {
    get held() {
      return [...members].reduce((sum, { held }) => sum + held, 0)
    },
    join(nudge) {
      const member: Member = { held: 0, waits: false, nudge }
      members.add(member)
      return {
        next: (batchSize) => next(member, batchSize),
        free: (batchSize) => next(member, batchSize),
        holds(count) {
          const less = count < member.held
          taken += fromCommon(count) - fromCommon(member.held)
          member.held = count
          if (less) offer()
        },
      }
    },
  }
}
