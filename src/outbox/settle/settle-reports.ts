import { errorFields } from '../../core/errors/error-text.ts'
import type { Settlement } from '../../core/outbox.ts'
import { seldom } from '../../lib/async/seldom.ts'
import type { Environment } from '../environment.ts'
import type { Entry } from './entry.ts'

/** What the log says about settling. */
export interface SettleReports {
  failed(call: FailedCall, thrown: unknown): void
  again(): void
  stale(count: number): void
  /**
   * The storage refused the settlement of this entry, and recorded something else in its place.
   * Said once a minute.
   */
  refused(entry: Entry, instead: Settlement, thrown: unknown): void
  dropped(thrown: unknown): void
}

export interface FailedCall {
  /** Calls that failed in a row, this one included. */
  readonly failures: number
  readonly messages: number
  /** The storage is there and said no: what becomes of the messages is told for each kind. */
  readonly refused: boolean
}

export function createSettleReports({ app, logger, clock }: Environment): SettleReports {
  const mayTell = seldom(clock, 60_000)
  let away = false

  /** At most once a minute for each text. */
  function tell(fields: Readonly<Record<string, unknown>>, text: string): void {
    if (mayTell(text)) logger.error(fields, text)
  }

  return {
    failed({ failures, messages, refused }, thrown) {
      const fields = { app, messages, failures, ...errorFields(thrown) }
      if (refused || away) return logger.debug(fields, 'settling published messages failed')
      away = true
      logger.warn(
        fields,
        'settling published messages failed; it is tried again, and nothing is claimed meanwhile',
      )
    },
    again() {
      if (away) logger.info({ app }, 'the outbox storage settles again')
      away = false
    },
    stale(count) {
      if (count > 0)
        logger.debug({ app, stale: count }, 'some claims were lost before they were settled')
    },
    refused({ row, settlement }, instead, thrown) {
      const fields = {
        app,
        position: settlement.position.toString(),
        id: row.message.id,
        ...errorFields(thrown),
      }
      tell(fields, refusal(settlement.kind, instead.kind))
    },
    dropped: (thrown) =>
      tell(
        { app, ...errorFields(thrown) },
        'the outbox storage records nothing about a message whose claim is over',
      ),
  }
}

function refusal(kind: Settlement['kind'], instead: Settlement['kind']): string {
  if (kind === 'dead')
    return 'a message that was given up cannot be stored as a dead letter; it is set aside and tried again later'
  if (instead === 'sent')
    return 'a published message cannot be kept; its row was removed without a copy'
  return 'the row of a published message cannot be removed; it is set aside and not published again by this relay'
}
