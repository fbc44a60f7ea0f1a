import { AsyncLocalStorage } from 'node:async_hooks'
import type { Envelope } from '../../core/messages/message.ts'
import type { Level, Unit } from './unit.ts'

/** What the current code runs in: a unit of work, the handling of a message, or both. */
export interface Scope<Tx> {
  readonly unit: Unit<Tx> | undefined
  readonly cause: Envelope | undefined
  /** The savepoint that the code runs in. */
  readonly level?: Level
}

/** Each app has its own, so that apps in one process do not see each other's transactions. */
export type Ambient<Tx> = AsyncLocalStorage<Scope<Tx> | undefined>

export function createAmbient<Tx>(): Ambient<Tx> {
  return new AsyncLocalStorage<Scope<Tx> | undefined>()
}
