/** What the harness and its processes tell each other. */
import type { CrashPoint } from '../../src/testing/crash-points.ts'

export type Role = 'producer' | 'relay' | 'consumer'
/** PostgreSQL and a broker that is a server: RabbitMQ (`postgres`), or the one that is named. */
export const clusterKinds = ['postgres', 'nats', 'redis', 'kafka'] as const
export type ClusterKind = (typeof clusterKinds)[number]
/** Whose database is a server. */
export const serverKinds = [...clusterKinds, 'mysql'] as const
/** The servers of a run. */
export const storeKinds = [...serverKinds, 'sqlite'] as const
export type StoreKind = (typeof storeKinds)[number]

export const isCluster = (kind: StoreKind): kind is ClusterKind =>
  clusterKinds.some((each) => each === kind)

export interface PostgresAddress {
  readonly kind: ClusterKind
  readonly database: string
  readonly schema: string
  readonly broker: string
}

export interface SqliteAddress {
  readonly kind: 'sqlite'
  readonly store: string
  readonly broker: string
}

/** MariaDB, with a file as the broker. */
export interface MysqlAddress {
  readonly kind: 'mysql'
  readonly database: string
  readonly broker: string
  /**
   * The time of day at 0 of the monotonic clock of the machine, in milliseconds: the broker has a
   * right clock, whatever those of the processes say.
   */
  readonly epoch: number
}

export type Address = PostgresAddress | SqliteAddress | MysqlAddress

export interface WorkerPlan {
  /** Also the `application_name` of its connections. */
  readonly name: string
  readonly role: Role
  /** Counts the starts of this program. */
  readonly life: number
  readonly seed: number
  /** Folder of the source under test: `src`, or a copy of it with a bug. */
  readonly source: string
  /** File that gets the history of this process. */
  readonly history: string
  readonly address: Address
  /** Its business transactions run with `synchronous_commit = off`. */
  readonly asyncCommit: boolean
  /** Whether it relays what it writes itself. */
  readonly express: boolean
  /** Relays read the log of the database, and what has an express lane writes for them. */
  readonly commitLog: boolean
  /** Most messages that a handler takes in one transaction. */
  readonly batch: number
  /** Its part in the second workload: sagas, requests once, handling in order. */
  readonly features: 'producer' | 'clerk' | undefined
}

/** `at`: end or stop at this point, when it is reached next. `quiet`: write nothing more. */
export type Order =
  | { readonly kind: 'at'; readonly point: CrashPoint; readonly action: 'kill' | 'stop' }
  | { readonly kind: 'forget' }
  | { readonly kind: 'quiet' }

/** `forgot`: it ends or stops at no point any more. */
export type Report =
  | { readonly kind: 'ready'; readonly wall: number }
  | { readonly kind: 'quiet' | 'forgot' }

export const CLAIM_MS = 2500
export const GRACE_MS = 2000
/**
 * After it a message of a silent consumer goes to another one, on brokers where that has a time.
 */
export const HOLD_MS = 4000
export const KEYS = 12
/** Of every queue, on brokers that have partitions. */
export const PARTITIONS = 4
export const topics = { booked: 'chaos.booked', billed: 'chaos.billed' } as const
/** Name of the consuming app and of its queue. */
export const CONSUMER = 'ledger'
export const TAP = 'tap'
/** Headers by which the tap knows who published a message, and what it should contain. */
export const headers = { publish: 'chaos-publish', note: 'chaos-note' } as const

/** The body of every message of the harness. */
export interface Body {
  readonly text: string
}
