/** What the processes of a comparison, and the program that starts them, have to agree on. */

export const candidates = [
  'Mersal',
  'pg-boss',
  'graphile-worker',
  'pg-transactional-outbox',
  'BullMQ',
  '@node-ts/bus-core',
] as const

export type Candidate = (typeof candidates)[number]

/** Where a process works. */
export interface Servers {
  readonly database: string
  readonly rabbitmq: string
  readonly redis: string
}

/** A message: the so manieth of its line. Its row in `business` has the same two fields. */
export interface Body {
  readonly line: string
  readonly n: number
}

/** Its handler always fails. */
export const POISON = 'poison'
/** Lines of which each message has the line as its key. The handler fails once for `STUMBLE`. */
export const ORDERED: readonly string[] = ['key a', 'key b', 'key c']
export const STUMBLE = 4

export interface WorkerPlan {
  readonly candidate: Candidate
  readonly servers: Servers
  readonly role: 'sender' | 'consumer'
  /**
   * SIGKILL of the process at the moment when the server has executed the COMMIT of a transaction
   * with a message.
   */
  readonly trap?: 'commit'
  /** Senders without an outbox may publish before they commit, or after it. */
  readonly order: 'commit first' | 'send first'
  readonly bodies: readonly Body[]
  /** How long one write may take before its sender gives up waiting for it. */
  readonly patienceMs: number
}
