import type { Hold } from './settle.ts'

/** A message that a consumer holds. */
export interface TakenRow extends Hold {
  readonly attempts: number
  readonly id: string
  readonly type: string
  readonly bytes: number
  readonly headers: string
  readonly body: Uint8Array
  readonly postponed_since: number | null
  /** It was set aside, since it could not be stored as a dead letter. */
  readonly dead_reason: string | null
  readonly dead_error: string | null
}
