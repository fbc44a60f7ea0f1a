/** What an all-knowing observer writes down about one message. */
export interface Record {
  readonly id: string
  readonly key: string | undefined
  readonly to: string
  readonly nature: 'plain' | 'poison' | 'killer'
  position: bigint | undefined
  committed: boolean
  /** It was written for the reader of the log. */
  logged?: boolean
  /** Virtual time at which its commit was answered. */
  committedAt?: number
  /** Frames that a relay wrote. */
  publishes: number
  /** Virtual time of the last of them. */
  lastPublishAt?: number
  /** Numbers that order what the broker accepted. */
  readonly accepted: number[]
  /** Virtual time at which the broker accepted it first. */
  acceptedAt?: number
  refusals: number
  /** Answers other than a confirm. */
  faults: number
  /** Claims, settlements and processes that were lost, paused or failed while they held it. */
  losses: number
  /**
   * Those of them that came between a publish and its settlement, so that they may cost a
   * duplicate.
   */
  hits: number
}

export interface Ledger {
  readonly records: Map<string, Record>
  /** Everything that happened, for comparing two runs of one seed. */
  readonly trace: string[]
  /** Violations that are seen at the moment they happen. */
  readonly violations: string[]
  write(line: string): void
  nextNumber(): number
  /** Virtual time. */
  now(): number
}

export function createLedger(now: () => number): Ledger {
  const trace: string[] = []
  let number = 0
  return {
    records: new Map(),
    trace,
    violations: [],
    write: (line) => trace.push(`${now().toFixed(3)} ${line}`),
    nextNumber: () => ++number,
    now,
  }
}
