import { MersalError } from '../../../core/errors/errors.ts'

/** What the tries of one delivery in transactions shared with others have come to. */
export interface Sharing {
  /** Tries in a shared transaction. */
  tries: number
  /** From now on only in a transaction of its own. */
  alone: boolean
  /**
   * The last try was undone through no fault of this message: it is handled again at once, and
   * nothing is judged.
   */
  again: boolean
  /**
   * Resolves when the handler that was given up with the transaction has ended, or has had time
   * enough.
   */
  ghost: Promise<void> | undefined
}

export function newSharing(): Sharing {
  return { tries: 0, alone: false, again: false, ghost: undefined }
}

/** What steps around such a try see. */
export function undone(cause: unknown): MersalError {
  const text = 'the transaction that this message shared was undone; it is handled again at once'
  return new MersalError('MERSAL_SHARED_UNDONE', text, { cause })
}
