import type { createRelay as CreateRelay } from '../../src/outbox/relay.ts'
import type { memoryStore as MemoryStore } from '../../src/stores/memory.ts'

/** The code under test; a mutant brings its own. */
export interface Subject {
  readonly createRelay: typeof CreateRelay
  readonly memoryStore: typeof MemoryStore
}

/** What is not in every schedule. */
export interface Schedule {
  /** Writers leave publishing to a relay that reads the log of commits. */
  readonly log: boolean
}

export interface Outcome {
  readonly violations: readonly string[]
  readonly trace: readonly string[]
  readonly faultFree: boolean
  readonly counts: {
    readonly messages: number
    readonly publishes: number
    readonly crashes: number
    readonly pauses: number
    readonly dead: number
    /** Messages that were written for the reader of the log. */
    readonly logged: number
  }
}
