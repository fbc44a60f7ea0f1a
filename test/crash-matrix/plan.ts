/** What the processes of one cell are told, and what all sides know of the work that they do. */

/** How messages come to their destination. */
export interface RelayKind {
  readonly name: string
  /** Where the outbox lies. */
  readonly database: 'postgres' | 'mysql'
  /** Undefined: RabbitMQ, and on the road `straight` none. */
  readonly broker?: 'nats' | 'redis' | 'kafka'
  /**
   * `express`: the writer publishes from memory. `relay`: the program `mersal relay`. `straight`:
   * into the queue of the same database.
   */
  readonly road: 'express' | 'relay' | 'straight'
  /** A pool whose connections send a statement before the last one is answered. */
  readonly pipeline: boolean
  /** The relay reads the log of the database, and the others write for it. */
  readonly log?: true
}

export type Role = 'writer' | 'finance' | 'relay' | 'migrator' | 'operator'

/**
 * The n-th time that this moment comes. The last step of all kills the process there; `reset` takes
 * the connections to the broker away, `cut` the one that reads the log; `term` sends SIGTERM.
 */
export interface Step {
  readonly moment: string
  readonly nth?: number
  /** Only with a message that the log has told of. */
  readonly logged?: true
  readonly do?: 'reset' | 'cut' | 'term'
}

/** A deliberate bug, to see that the checks notice it. */
export type Bug = 'no inbox' | 'publish before commit' | 'settle before confirm'

export interface WorkerPlan {
  readonly role: Exclude<Role, 'relay' | 'operator'>
  /** Name of the connections in the database: role and life. */
  readonly name: string
  readonly kind: RelayKind
  /** Its address; it says the name of the process. */
  readonly database: string
  readonly schema: string
  readonly broker: string
  /** Name of queue and app of the consumer. */
  readonly queue: string
  readonly exchange: string
  readonly options: CellOptions
  readonly bug?: Bug
}

/** What makes some points come about. */
export interface CellOptions {
  /** Confirmed messages are kept for an hour, and some are older than that. */
  readonly kept?: boolean
  /** Attempts of a message before it is given up. */
  readonly maxAttempts?: number
  /** Some handlers take longer than a consumer may hold a message without renewing. */
  readonly slowHandlers?: boolean
  /** Only the writer runs a relay beside its express lane: the consumer would be as fast. */
  readonly oneRelay?: boolean
  /** Another relay, which lives on: it reads the log first, or waits for its turn. */
  readonly second?: 'reads' | 'waits'
}

/** A last step that another database has in place of the one of PostgreSQL. */
export interface Instead extends Step {
  /** What has to come before it, in place of what comes first elsewhere. */
  readonly first?: Step
  readonly options?: CellOptions
}

export const topics = {
  registered: 'students.registered',
  billed: 'students.billed',
  nowhere: 'students.nowhere',
} as const
export const NOWHERE = 'nowhere'

/**
 * Long against the pauses of a busy machine, short against the patience of whoever waits for the
 * matrix.
 */
export const HOLD_MS = 2500

export const relay = ({ options, kind }: Pick<WorkerPlan, 'options' | 'kind'>) => ({
  claimMs: HOLD_MS,
  expressGraceMs: HOLD_MS,
  pollIntervalMs: 100,
  batchSize: 6,
  maxAttempts: options.maxAttempts ?? 3,
  retry: { firstMs: 20, longestMs: 50 },
  ...(kind.log === true ? { commitLog: true } : {}),
})

/** Transactions of the writer. */
export const TRANSACTIONS = 18
const numbers = Array.from({ length: TRANSACTIONS }, (_, number) => number)

export const isRolledBack = (number: number): boolean => number % 7 === 3
/** In a transaction that the app does not own. */
export const isForeign = (number: number): boolean => number % 5 === 4
/** The handler of its first message fails at the first try. */
export const failsFirst = (number: number): boolean => number % 8 === 1
/** Nothing can handle its first message, until an operator has put that right. */
export const isPoison = (number: number): boolean => number === 6 || number === 12
/** It also sends a command to a queue that does not exist. */
export const goesNowhere = (number: number): boolean => number === 5

export interface Part {
  readonly number: number
  readonly part: number
}

/** Keys of the events of a transaction. */
export function keysOf(number: number): readonly (string | undefined)[] {
  return isForeign(number)
    ? [`a${number % 3}`]
    : [`a${number % 3}`, number % 2 === 0 ? `b${number % 4}` : undefined]
}

export const committed: readonly number[] = numbers.filter((number) => !isRolledBack(number))
export const nameOf = ({ number, part }: Part): string => `${number}/${part}`
