import type { ClaimedMessage, ClaimRequest, OutboxStorage, Settlement } from '../../core/outbox.ts'

/** What has become of the messages that a relay has taken. */
export interface Counts {
  /** Have left the outbox: confirmed, or discarded since they had expired. */
  readonly published: number
  readonly dead: number
  /** Tries without a confirm, after which the message waits for another one. */
  readonly unconfirmed: number
}

/** Counts since it was made. */
export interface Tally {
  readonly counts: Counts
  /** A claim was not sent, since the most messages are in hand or were settled. */
  readonly cut: boolean
  /** Calls this after each settlement, until the returned function is called. */
  follow(listener: () => void): () => void
}

/** What a relay needs of a storage. */
export type RelayStorage = Pick<
  OutboxStorage<never>,
  'claim' | 'settle' | 'renew' | 'clock' | 'waiting'
>

/**
 * The storage, with a tally of what a relay does with it. `most`: the largest number of messages
 * that are taken and settled. One that is given back unharmed, because its destination is away or
 * its key is held up, makes room for another one.
 */
export function tallied(
  storage: RelayStorage,
  most: number = Infinity,
): { readonly storage: RelayStorage; readonly tally: Tally } {
  const tally = new Taken(most)
  const { renew, clock, waiting } = storage
  return {
    tally,
    storage: {
      async claim(request) {
        const limit = tally.grant(request.limit)
        if (limit === 0) return []
        const rows = await storage.claim(tally.watched({ ...request, limit }))
        tally.took(rows)
        return rows
      },
      async settle(settlements: readonly Settlement[]) {
        const result = await storage.settle(settlements)
        tally.settled(settlements)
        return result
      },
      ...(renew && { renew: renew.bind(storage) }),
      ...(clock && { clock }),
      ...(waiting && { waiting }),
    },
  }
}

class Taken implements Tally {
  readonly counts: { published: number; dead: number; unconfirmed: number } = {
    published: 0,
    dead: 0,
    unconfirmed: 0,
  }
  cut: boolean = false
  readonly #most: number
  /** Taken, and neither settled nor given back. */
  #held = 0
  /** Settled for good, or refused. */
  #decided = 0
  readonly #listeners = new Set<() => void>()

  constructor(most: number) {
    this.#most = most
  }

  /** How many of these may be claimed. */
  grant(limit: number): number {
    const granted = Math.min(limit, Math.max(0, this.#most - this.#decided - this.#held))
    this.cut = granted === 0
    return granted
  }

  /** Also counts the rows that the storage gives up by itself. */
  watched(request: ClaimRequest): ClaimRequest {
    const { buried } = request
    if (buried === undefined) return request
    return {
      ...request,
      buried: (row, settlement) => {
        this.counts.dead++
        this.#decided++
        buried(row, settlement)
      },
    }
  }

  took(rows: readonly ClaimedMessage[]): void {
    this.#held += rows.length
  }

  settled(settlements: readonly Settlement[]): void {
    this.#held -= settlements.length
    for (const settlement of settlements) this.#note(settlement)
    for (const listener of this.#listeners) listener()
  }

  #note(settlement: Settlement): void {
    const { counts } = this
    switch (settlement.kind) {
      case 'sent':
        counts.published++
        break
      case 'dead':
        counts.dead++
        break
      case 'retry':
        counts.unconfirmed++
        break
      case 'release':
      default:
        // Without a delay it was never tried.
        if (settlement.delayMs !== undefined) counts.unconfirmed++
        return
    }
    this.#decided++
  }

  follow(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }
}

/** What has been added since `before`. */
export function since(before: Counts, { published, dead, unconfirmed }: Counts): Counts {
  return {
    published: published - before.published,
    dead: dead - before.dead,
    unconfirmed: unconfirmed - before.unconfirmed,
  }
}
