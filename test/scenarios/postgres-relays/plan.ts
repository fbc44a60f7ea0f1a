/** A deliberate bug in the statements of the relays, to see that the checks notice it. */
export type Bug = 'settle without token' | 'claim without gap test'

export interface RelayPlan {
  readonly role: 'relay'
  /** Also the `application_name` of its connections, by which the witness knows it. */
  readonly name: string
  readonly database: string
  /** Also the name of the one type of message, and of the queue that is the log. */
  readonly schema: string
  readonly broker: string
  /** Default: that of Mersal. */
  readonly claimMs?: number
  readonly bugs?: readonly Bug[]
}

export interface WriterPlan {
  readonly role: 'writer'
  readonly name: string
  readonly database: string
  readonly schema: string
  readonly seed: number
  /** Messages that it commits at least; it goes on until it is told to stop. */
  readonly messages: number
  /** One unit in this number of each connection stays open for long while others commit. */
  readonly lateEvery: number
}

export type Plan = RelayPlan | WriterPlan

/**
 * What the harness tells a process. `hold`: a relay keeps these back from the broker until `let
 * go`. `dawdle`: a relay hears of each answer of the broker a little later, each at its own time,
 * so that its batches are long half done. `stop`: a relay stops in good order, a writer goes on
 * only until it has written what was asked for.
 */
export type Order =
  | { readonly kind: 'hold'; readonly ids: readonly string[] }
  | { readonly kind: 'let go' | 'dawdle' | 'stop' }

/** A row under one claim. */
export interface Claimed {
  readonly position: string
  readonly token: string
}

export interface Written {
  readonly units: number
  readonly rolledBack: number
  /** Units that stayed open for long and then committed. */
  readonly late: number
  readonly savepointsUndone: number
  readonly savepointsKept: number
}

/** What a process tells the harness. */
export type Report =
  | { readonly kind: 'ready' }
  | { readonly kind: 'settled'; readonly stale: number; readonly rows: readonly Claimed[] }
  | { readonly kind: 'failed'; readonly doing: 'claim' | 'settle'; readonly error: string }
  | { readonly kind: 'unknown'; readonly id: string; readonly token: string }
  | ({ readonly kind: 'written' } & Written)

export const KEYS = 50
export const WRITERS = 3
/** Connections of one writer that write at the same time. */
export const LANES = 4
export const LATE_MS = 1500
/** Headers that tell in the log who published a message when, and under which claim. */
export const headers = {
  relay: 'test-relay',
  at: 'test-at',
  token: 'test-token',
  position: 'test-position',
} as const
