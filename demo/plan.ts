/**
 * What the programs of the demo agree upon: their messages, and what the parent tells a program.
 */
import { command, event } from '../src/index.ts'
import type { CrashPoint } from '../src/testing/crash-points.ts'

export type AppName = 'registrar' | 'finance' | 'desk'
export type QueueName = 'registrar' | 'finance' | 'audit'
export const queues: readonly QueueName[] = ['registrar', 'finance', 'audit']

/** One line of the input. `line` is its number there, and so the identity of the command. */
export interface Registration {
  readonly line: number
  readonly name: string
  readonly programme: string
}

export interface Registered {
  readonly studentId: string
  readonly line: number
  readonly name: string
}

export const RegisterStudent = command<Registration>('students.register')
export const StudentRegistered = event<Registered>('students.registered')

/**
 * Where an app keeps its rows: a file of SQLite, a schema of PostgreSQL or a database of MariaDB,
 * each named after the app.
 */
export type DatabasePlace =
  | { readonly kind: 'sqlite'; readonly folder: string }
  | { readonly kind: 'postgres'; readonly url: string; readonly prefix: string }
  | { readonly kind: 'mysql'; readonly url: string; readonly prefix: string }

/** A place of this kind. */
export type PlaceOf<Kind extends DatabasePlace['kind']> = DatabasePlace & { readonly kind: Kind }

/** Where messages go. The names of apps and queues begin with the prefix. */
export type BrokerPlace =
  | { readonly kind: 'sqlite'; readonly path: string; readonly prefix: '' }
  | { readonly kind: 'rabbitmq'; readonly url: string; readonly prefix: string }
  /** `streams`: begins the names of its streams and subjects. */
  | { readonly kind: 'nats'; readonly url: string; readonly prefix: ''; readonly streams: string }

/**
 * What a child is told, as JSON in its environment: there nobody else sees the addresses of the
 * servers.
 */
export interface ChildPlan {
  readonly app: AppName
  readonly way: 'naive' | 'outbox'
  /** File with the commands. */
  readonly commands: string
  readonly database: DatabasePlace
  readonly broker: BrokerPlace
  /** Stop there and wait to be killed. */
  readonly stop?: { readonly point: CrashPoint; readonly nth: number }
  /** Lines whose handler in finance fails twice, and always. */
  readonly failsTwice: number
  readonly failsAlways: number
}

export const PLAN_VARIABLE = 'MERSAL_DEMO_PLAN'
/** File descriptor on which a child says that it has reached its point. */
export const REPORT_FD = 3
/**
 * How long a claim, a grace or a delivery is held by a dead process. The defaults are 15 s, 10 s
 * and 30 s.
 */
export const HOLD_MS = 1200

export function eventsExchange(prefix: string): string {
  return `${prefix}events`
}
