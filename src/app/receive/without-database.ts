import { errorFields } from '../../core/errors/error-text.ts'
import { linkAbort } from '../../lib/async/linked-abort.ts'
import { publishHeld } from '../send/held-sends.ts'
import { noTransaction } from '../send/send-calls.ts'
import { createSender } from '../send/sender.ts'
import { afterCommitNowhere, runAfterCommit } from '../unit/after-commit.ts'
import { savepointNowhere } from '../unit/savepoints.ts'
import { cancelNowhere } from '../send/cancel.ts'
import { withTimeLimit } from '../unit/time-limit.ts'
import { Unit } from '../unit/unit.ts'
import {
  type AttemptPorts,
  type AttemptUnit,
  type Reception,
  attempt,
  handlerLimit,
} from './attempt.ts'

/**
 * Handles one message without a unit of work.
 *
 * Without an outbox, what the handler sends is held until the handler has succeeded, and is then
 * published. The delivery is acknowledged after that. With an outbox, the handler sends within a
 * transaction that it opens itself.
 */
export async function handleWithoutDatabase<Tx>(
  ports: AttemptPorts<Tx>,
  reception: Reception<Tx>,
): Promise<void> {
  const { storage, name: app, logger } = ports.settings
  const cause = reception.delivery.message
  const unit = storage === undefined ? new Unit<Tx>(undefined as Tx, { cause }) : undefined
  using link = linkAbort(reception.givingUp)
  const limit = handlerLimit(ports.settings, reception.registration)
  const work = (): Promise<void> => attemptWithoutDatabase(ports, reception, unit, link.signal)
  try {
    await withTimeLimit(limit, link, work, (error) => logLate(ports, reception, error))
    const held = unit?.close().map(({ message }) => message) ?? []
    await publishHeld(ports.settings, held, reception.signal)
    if (unit !== undefined) runAfterCommit({ app, logger, ...ports }, unit.works)
  } finally {
    unit?.end()
  }
}

/** One attempt. `unit` takes what the handler sends; undefined for an app with an outbox. */
export function attemptWithoutDatabase<Tx>(
  ports: AttemptPorts<Tx>,
  reception: Reception<Tx>,
  unit: Unit<Tx> | undefined,
  signal: AbortSignal,
): Promise<void> {
  return attempt(reception, heldUnit(ports, unit, reception, signal), never, ports.settings)
}

const never = (): Promise<boolean> => Promise.resolve(false)

function heldUnit<Tx>(
  { ambient, senders }: AttemptPorts<Tx>,
  unit: Unit<Tx> | undefined,
  { delivery }: Reception<Tx>,
  signal: AbortSignal,
): AttemptUnit<Tx> {
  const savepoint = savepointNowhere
  return {
    tx: undefined as Tx,
    signal,
    call: (handler) =>
      ambient.run({ unit, cause: delivery.message }, () =>
        handler((fields) =>
          unit === undefined
            ? {
                ...createSender(noTransaction),
                cancel: cancelNowhere,
                savepoint,
                afterCommit: afterCommitNowhere,
                ...fields,
              }
            : senders.make(unit, { savepoint, ...fields }),
        ),
      ),
  }
}

function logLate<Tx>(
  { settings: { logger, name: app } }: AttemptPorts<Tx>,
  { delivery }: Reception<Tx>,
  error: unknown,
): void {
  const fields = { app, id: delivery.message.id, ...errorFields(error) }
  logger.debug(fields, 'a handler that had been given up failed later')
}
