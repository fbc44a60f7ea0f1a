/**
 * The clock by which a storage decides what is due. It may jump: somebody sets it, or a standby
 * with another clock takes over.
 */
export interface StorageClock {
  read(): Promise<ClockReading>
  /**
   * Puts rows right that wait longer than they lawfully can, counted from now, because the clock
   * was set back. Tokens, attempts and the order of a key stay. A delay that a sender asked for is
   * never cut short. Repeating it changes nothing more. Returns how many rows were changed.
   */
  recover(limits: LawfulWaits): Promise<number>
}

export interface ClockReading {
  /** Milliseconds since the Unix epoch. */
  readonly now: number
  /**
   * How far the time at which an open message was added lies in the future, in milliseconds: the
   * clock was set back by at least this. 0 if no message lies in the future.
   */
  readonly ahead: number
}

export interface LawfulWaits {
  /** How far the clock was set back, at least, in milliseconds. 0: not known. */
  readonly backMs: number
  /** A claim lasts no longer. */
  readonly claimMs: number
  /** A message that was in the hands of a relay waits no longer for its next try. */
  readonly retryMs: number
}

/** Steps up to this many milliseconds are no jump: clocks are corrected now and then. */
export const STEADY_MS = 2000
