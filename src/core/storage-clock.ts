/**
 * The clock by which a storage tells what is due. Somebody may set it, or a standby with another
 * one takes over.
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
   * So much later than now an open message was added, in milliseconds: the clock was set back by at
   * least that. 0: none was.
   */
  readonly ahead: number
}

export interface LawfulWaits {
  /** So far the clock was set back, at least. 0: not known. */
  readonly backMs: number
  /** A claim lasts no longer. */
  readonly claimMs: number
  /** A message that was in the hands of a relay waits no longer for its next try. */
  readonly retryMs: number
}

/** Steps up to this are no jump: clocks are corrected by so much now and then. */
export const STEADY_MS = 2000
