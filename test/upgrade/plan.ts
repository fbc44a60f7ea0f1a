/** What the processes of the test, and the test itself, have to agree on. */
import type { DeadReason } from '../../src/core/dead-letter.ts'

export type Address =
  | {
      readonly kind: 'postgres'
      readonly database: string
      readonly schema: string
      readonly broker: string
    }
  | { readonly kind: 'mysql'; readonly database: string; readonly broker: string }
  | { readonly kind: 'sqlite'; readonly database: string; readonly broker: string }

export interface WorkerPlan {
  /** Folder of the build: its faces are `index.ts`, `postgres.ts` and so on. */
  readonly source: string
  readonly address: Address
  /** `app`: writes, handles, publishes from memory, and has a relay. `relay`: only that. */
  readonly role: 'app' | 'relay'
}

/** Name of the app, and of its queue. */
export const APP = 'ledger'
/** A queue of a plain client, which gets every event. */
export const TAP = 'tap'
/** A queue that is missing until the dead letters are retried. */
export const NOWHERE = 'nowhere'

export const topics = { booked: 'upgrade.booked', stray: 'upgrade.stray' } as const

/** A message: the so manieth of its line. The numbers of a line are drawn in its transactions. */
export interface Body {
  readonly line: string
  readonly n: number
}

/** Lines whose messages have the line as their key. */
export const keyed: readonly string[] = ['a', 'b', 'c']
export const UNKEYED = 'unkeyed'
export const DELAYED = 'delayed'
/** Goes to the missing queue, with a key: the first one holds back the others. */
export const HELD = 'held'
/** Goes there without a key. */
export const STRAY = 'stray'

/** So late that they wait while the builds change. */
export const DELAY_MS = 30_000
export const DELAYED_AT_ONCE = 5

export interface Letter {
  readonly id: string
  readonly reason: DeadReason
  readonly blocksKey: boolean
  /** Numbers of the attempts that are known; the older build knows none. */
  readonly attempts: readonly number[]
}

export type Order =
  /** Messages of every line, until `quiet`. */
  | 'write'
  | 'quiet'
  /** Delayed messages, and some for the missing queue. */
  | 'burden'
  /** Tell of the dead letters. */
  | 'letters'
  /** Put them back. */
  | 'retry'

export type Report =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly order: Order; readonly letters?: readonly Letter[] }
  /** Counts since the process has begun. */
  | { readonly kind: 'counts'; readonly published: number; readonly handled: number }
