import type { CrashPoint } from '../testing/crash-points.ts'

/**
 * What a life of the program has to go through besides being killed.
 *
 * - `undo`: every third action throws at the end of its transaction.
 * - `fail`: the first try of each delivery throws at the end of its transaction.
 * - `twice`: each delivery that was handled is handed over once more.
 * - `poison`: one message can never be handled.
 */
export type Trouble = 'undo' | 'fail' | 'twice' | 'poison'

/** The nth time that this point is reached. */
export interface Arm {
  readonly point: CrashPoint
  readonly nth: number
  /** Counts from the first moment of the process, not only from its first action. Default false. */
  readonly early?: boolean
}

/** What a process of the program is told, in `MERSAL_PROVE_PLAN`. */
export interface LifePlan {
  /** `mersal.prove.ts`. */
  readonly file: string
  readonly folder: string
  readonly databaseUrl: string
  readonly brokerUrl: string | undefined
  /** `look`: answer what is there, without the program. */
  readonly role: 'run' | 'look'
  readonly arm?: Arm
  readonly trouble?: Trouble
  /** Each point that is reached is a line in this file. */
  readonly log: string
}

/** What is there. */
export interface Look {
  readonly rows: readonly number[]
  readonly effects: readonly number[]
  /** Messages in outboxes, and in queues that can be counted. */
  readonly waiting: number
  /** Dead letters of outboxes and queues. */
  readonly dead: number
}

export interface Failure {
  readonly n: number
  readonly error: string
}

/** From the process to its parent. */
export type Told =
  | { readonly kind: 'acting'; readonly actions: number; readonly keys: readonly string[] }
  | { readonly kind: 'done'; readonly failures: readonly Failure[] }
  | ({ readonly kind: 'look' } & Look)
  | { readonly kind: 'broken'; readonly error: string }

export const PLAN = 'MERSAL_PROVE_PLAN'

/** With `undo`: whether this action is taken back. */
export const isUndone = (n: number): boolean => n % 3 === 0
