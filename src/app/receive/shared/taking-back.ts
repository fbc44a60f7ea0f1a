import { errorText } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { abortable } from '../../../lib/async/linked-abort.ts'
import type { Settings } from '../../settings/settings.ts'

/** What a unit that has failed had recorded in the inbox. */
export interface Recorded<Tx> {
  readonly tx: Tx
  readonly messageIds: readonly string[]
}

const BACKOFF = { firstMs: 50, longestMs: 2000 }

/**
 * A unit has failed. If its transaction was committed all the same, by the work inside, the inbox
 * holds records of messages that would be taken for handled, although what they have sent was never
 * stored. So the records are taken back, which takes as long as the database needs to answer,
 * unless nobody holds the messages any more. Tells whether there were any.
 */
export async function takeBack<Tx>(
  settings: Settings<Tx>,
  { tx, messageIds }: Recorded<Tx>,
  signal: AbortSignal,
): Promise<boolean> {
  const { tracker, name: consumer, clock, random, logger } = settings
  const endings = tracker?.endings
  const recorder = messageIds.length === 0 ? undefined : endings?.recorder(tx)
  if (endings === undefined || recorder?.suspect !== true) return false
  const { transaction } = recorder
  for (let failures = 1; !signal.aborted; failures++) {
    try {
      return (
        (await abortable(signal, () => endings.forget(transaction, { consumer, messageIds }))) > 0
      )
    } catch (error) {
      const fields = { app: consumer, error: errorText(error) }
      if (failures === 2) logger.warn(fields, 'messages wait until the inbox can be asked')
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
