import { MersalError } from '../../../core/errors/errors.ts'

/** Whether a try may share a transaction. */
export interface Sharing {
  /** Shared transactions that the message was part of, and that were undone. */
  readonly undone: number
  /** True: only a transaction of its own, from now on. */
  readonly alone: boolean
}

export const newSharing: Sharing = { undone: 0, alone: false }

/** What a shared transaction means for one of its messages. */
export type Verdict =
  | { readonly kind: 'handled' }
  /** A failure of this message, as if it had been handled alone. */
  | { readonly kind: 'failed'; readonly error: unknown }
  | Repeat

/** Undone through no fault of this message: it is handled again at once, and nothing is judged. */
export interface Repeat {
  readonly kind: 'repeat'
  readonly cause: unknown
  readonly sharing: Sharing
  /** Resolves when its handler, which was given up and may go on, has ended or had time enough. */
  readonly after: Promise<void> | undefined
}

/** The error that the steps of the user see around a try that is repeated. */
export function undone({ cause }: Repeat): MersalError {
  const text = 'the transaction that this message shared was undone; it is handled again at once'
  return new MersalError('MERSAL_SHARED_UNDONE', text, { cause })
}
