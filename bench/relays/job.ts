import type { QueueType } from '../rabbit-queue.ts'

/** On MariaDB. */
export type MysqlKind = 'mysql, floor delete' | 'mysql, floor claimed' | 'mysql, mersal'

export type RelayKind =
  | 'bare publishing'
  | 'bare publishing, with properties'
  | 'floor delete'
  | 'floor claimed'
  | 'floor overlap'
  | 'floor overlap, tens'
  | 'mersal'
  | 'mersal, log'
  | 'mersal, bundles'
  | 'pg-boss'
  | 'graphile-worker'
  | 'pg-transactional-outbox'
  | MysqlKind

/** What a relay process is started with. */
export interface RelayJob {
  readonly kind: RelayKind
  /** Address of the server. */
  readonly database: string
  /** Where the messages go; without it they are confirmed at once and only counted. */
  readonly rabbit?: { readonly url: string; readonly queue: string; readonly type: QueueType }
  /** How many messages there are to move, if that is known. */
  readonly expected?: number
  /**
   * Whether they are written while the relay works, so that an empty table is not the end. Default
   * false.
   */
  readonly arriving?: boolean
  /** Options of Mersal's store. */
  readonly store?: { readonly keepSentMs?: number; readonly vacuumRows?: number }
  /** How many keys the messages have, to check their order where no broker can be read. 0: none. */
  readonly keys: number
}

/** A relay of any make. */
export interface BenchRelay extends AsyncDisposable {
  /** Moves messages from now on. */
  start(): Promise<void>
  /** Resolves when what was there is published and retired. */
  drained(): Promise<void>
}

export type OpenRelay = (job: RelayJob, sink: Sink) => Promise<BenchRelay>

/** Where a hand-written relay or a peer puts the bodies. */
export interface Sink extends AsyncDisposable {
  /** Resolves when all are confirmed; in order. */
  publish(bodies: readonly Buffer[]): Promise<void>
  /** Resolves when `expected` messages have been confirmed. */
  readonly all: Promise<void>
  /** How many have been confirmed. */
  readonly moved: number
  /** What was wrong with what came; undefined if the broker has to be read. */
  faults(): string[] | undefined
}

/** Now and then, of a job whose messages are arriving. */
export interface Progress {
  readonly moved: number
}

export interface Done {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly faults: readonly string[]
}
