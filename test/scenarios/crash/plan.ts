import type { CrashPoint } from '../../../src/testing/crash-points.ts'

export type Role = 'producer' | 'relay' | 'finance'

/** A deliberate bug, to see that the checks notice it. */
export type Bug =
  | 'no inbox'
  | 'publish before commit'
  | 'publish after commit without outbox'
  | 'answer before flush'

/** What one worker process is told, as JSON in its only argument. */
export interface WorkerPlan {
  readonly role: Role
  readonly folder: string
  readonly lane: 'express' | 'relay'
  /** The process kills itself when it reaches the point for the n-th time. */
  readonly crash?: { readonly point: CrashPoint; readonly nth: number }
  readonly bug?: Bug
  /** The power fails instead of one process; the folder for what has been flushed. */
  readonly power?: string
  /** Most messages that the handler takes in one transaction. */
  readonly batch?: number
}

/** Transactions that the producer runs; each has two messages. Every seventh is rolled back. */
export const TRANSACTIONS = 24
export const isRolledBack = (number: number): boolean => number % 7 === 3
/** Keys of the messages of a transaction: they differ, so that one batch can hold both. */
export const keysOf = (number: number): readonly [string, string] => [
  `a${number % 3}`,
  `b${number % 2}`,
]

/** Short, so that the work of a killed process is taken over soon. */
export const HOLD_MS = 800

export const files = {
  registrar: 'registrar.db',
  finance: 'finance.db',
  broker: 'broker.db',
  taken: 'taken',
  batches: 'batches',
  answered: 'answered',
} as const
export const queues = { finance: 'finance', log: 'log', ledger: 'ledger' } as const
