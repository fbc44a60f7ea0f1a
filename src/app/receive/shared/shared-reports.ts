import { errorFields } from '../../../core/errors/error-text.ts'
import { isMersalError } from '../../../core/errors/errors.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { type Member, type SharedFailure, typeOf } from './shared-transaction.ts'

interface ReportPorts {
  readonly name: string
  readonly logger: Logger
}

/**
 * Logs that a shared transaction was undone. A failure of one message is logged as a warning when
 * that message fails alone; other failures may be logged nowhere else.
 */
export function reportFailure<Tx>(
  { name, logger }: ReportPorts,
  members: readonly Member<Tx>[],
  failure: SharedFailure<Tx>,
): void {
  const { progress, over, error } = failure
  const isHandling = progress.stage === 'handling'
  const id = isHandling ? members[progress.index]?.reception.delivery.message.id : undefined
  const fields = {
    app: name,
    type: typeOf(members),
    messages: members.length,
    stage: progress.stage,
    id,
    ...errorFields(error),
  }
  const text = 'a transaction that messages shared was undone'
  const remedy = 'since a handler, or its failure, had ended it: leave COMMIT to the unit'
  if (over) logger.error(fields, `${text}, ${remedy}`)
  else if (!isHandling || isMersalError(error, 'MERSAL_HANDLER_TIMEOUT')) logger.warn(fields, text)
  else logger.debug(fields, text)
}
