import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { abortable } from '../../lib/async/linked-abort.ts'
import type { Settings } from '../settings/settings.ts'

/** What a unit that has failed had recorded in the inbox. */
export interface Recorded<Tx> {
  readonly tx: Tx
  readonly messageIds: readonly string[]
}

const BACKOFF = { firstMs: 50, longestMs: 2000 }

/**
 * Deletes the inbox rows that this transaction wrote, in case a handler committed it early. Returns
 * whether there were any.
 *
 * Call it when the unit has failed. If a handler has committed the transaction anyway, the inbox
 * counts its messages as handled, although what they sent was never stored. Waits until the database
 * answers, or the signal aborts: then the messages are no longer held here.
 */
export async function forgetEarlyCommit<Tx>(
  settings: Settings<Tx>,
  { tx, messageIds }: Recorded<Tx>,
  signal: AbortSignal,
): Promise<boolean> {
  const { tracker, name: consumer, clock, random, logger } = settings
  const endings = tracker?.endings
  const recorder = messageIds.length === 0 ? undefined : endings?.recorder(tx)
  if (endings === undefined || recorder?.suspect !== true) return false
  const forget = (): Promise<number> =>
    endings.forget(recorder.transaction, { consumer, messageIds })
  for (let failures = 1; !signal.aborted; failures++) {
    try {
      return (await abortable(signal, forget)) > 0
    } catch (error) {
      if (failures === 2)
        logger.warn(
          { app: consumer, ...errorFields(error) },
          'messages wait until the inbox can be asked',
        )
      await clock.sleep(backoffMs(BACKOFF, failures, random), signal)
    }
  }
  return false
}

/** What becomes of a message whose handler has committed the transaction of its unit. */
export function endedByHandler(cause: unknown): MersalError {
  const text =
    'the handler ended the transaction of its unit: what it had written before may be stored, what it had sent is not'
  return new MersalError('MERSAL_TRANSACTION_ENDED', text, { cause })
}
