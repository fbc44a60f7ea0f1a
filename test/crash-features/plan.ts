/** What the processes of one cell are told, and what all sides know of the work that they do. */
import type { Step } from '../crash-matrix/plan.ts'

export type { Step }

/** A database and a broker, and how the cells call the two. */
export interface Road {
  readonly name: string
  readonly database: 'postgres' | 'mysql' | 'sqlite'
}

export const roads: readonly Road[] = [
  { name: 'PostgreSQL and RabbitMQ', database: 'postgres' },
  { name: 'MariaDB and RabbitMQ', database: 'mysql' },
  { name: 'SQLite and its queue', database: 'sqlite' },
]

/** `shop` serves HTTP and asks for prices; `clerk` has the saga, and answers. */
export type Role = 'shop' | 'clerk'

/** A deliberate bug, to see that the checks notice it. */
export type Bug =
  | 'no inbox'
  | 'state of its own'
  | 'timeouts forgotten'
  | 'no keys'
  | 'cancel at once'
  | 'reply at once'

export interface WorkerPlan {
  readonly role: Role
  /** What the watcher of the client of the database is chosen by. */
  readonly kind: { readonly database: Road['database'] }
  /** Address of the database, or the folder of the files. */
  readonly database: string
  readonly schema: string
  /** Address of the broker; empty where it is a file. */
  readonly broker: string
  readonly exchange: string
  /** Names of apps and queues begin with it. */
  readonly cell: string
  readonly bug?: Bug
}

/** Long against the pauses of a busy machine. */
export const HOLD_MS = 2500
export const ORDERS = 12
export const QUOTES = 8
export const numbers: readonly number[] = Array.from({ length: ORDERS }, (_, number) => number)
export const quoteNumbers = numbers.slice(0, QUOTES)

/** An instance that nobody pays for ends by its timeout after this time. */
export const UNPAID_MS = 1200
export const A_DAY_MS = 86_400_000
/** A reminder waits this long, so that most are taken back before. */
export const REMINDER_MS = 3000

/**
 * `paid`: both halves come. `unpaid`: none. `open`: one half, and a timeout of a day. `again`: one
 * half, which sets the timeout anew.
 */
export type Course = 'paid' | 'unpaid' | 'open' | 'again'
const courses = ['paid', 'unpaid', 'open', 'again'] as const
export const courseOf = (number: number): Course => courses[number % 4] as Course
export const timeoutMs = (number: number): number =>
  courseOf(number) === 'open' ? A_DAY_MS : UNPAID_MS

/** The halves that are paid for this order. */
export const partsOf = (number: number): readonly number[] =>
  ({ paid: [1, 2], unpaid: [], open: [1], again: [1] })[courseOf(number)]

/** What becomes of its reminder: taken back, taken back in what is undone, or sent. */
export type Fate = 'cancel' | 'undo' | 'leave'
const fates = ['cancel', 'undo', 'leave'] as const
export const fateOf = (number: number): Fate => fates[number % 3] as Fate

export const types = {
  start: 'orders.start',
  pay: 'orders.pay',
  remind: 'orders.remind',
  quote: 'prices.quote',
  opened: 'orders.opened',
  partPaid: 'orders.part-paid',
  closed: 'orders.closed',
} as const
/** What a plain client reads besides. */
export const topics = [types.opened, types.partPaid, types.closed] as const
export const SAGA = 'order'

export const shopOf = (cell: string): string => `${cell}.shop`
export const clerkOf = (cell: string): string => `${cell}.clerk`
export const tapOf = (cell: string): string => `${cell}.tap`

/** Texts of a request, which a repeat has as well. */
export interface Request {
  readonly path: 'orders' | 'payments' | 'reminders'
  readonly number: number
  readonly part: number
}
export const keyOf = ({ path, number, part }: Request): string => `${path}-${number}-${part}`
