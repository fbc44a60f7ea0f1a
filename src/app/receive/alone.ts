import { isMersalError } from '../../core/errors/errors.ts'
import type { GivingUp } from '../../lib/async/linked-abort.ts'
import type { RunUnit } from '../unit/run-unit.ts'
import type { Unit } from '../unit/unit.ts'
import { type AttemptPorts, type Reception, attempt, handlerLimit } from './attempt.ts'
import { decode } from './decode.ts'
import { endedByHandler, forgetEarlyCommit } from './early-commit.ts'

/** Handles one message in a unit of its own. */
export async function handleAlone<Tx>(
  ports: AttemptPorts<Tx>,
  runUnit: RunUnit<Tx>,
  reception: Reception<Tx>,
): Promise<void> {
  const { delivery, givingUp, progress, registration } = reception
  const { settings } = ports
  let recordedIn: Tx | undefined
  progress.stage = 'opening'
  try {
    await runUnit({
      cause: delivery.message,
      givingUp,
      limit: handlerLimit(settings, registration),
      work: attemptsInUnits(ports, reception, (tx) => (recordedIn = tx)),
    })
  } catch (error) {
    if (recordedIn === undefined) throw error
    const records = { tx: recordedIn, messageIds: [delivery.message.id] }
    const committed = await forgetEarlyCommit(settings, records, reception.signal)
    const known = !committed || isMersalError(error, 'MERSAL_TRANSACTION_ENDED')
    throw known ? error : endedByHandler(error)
  }
  progress.stage = 'done'
}

/**
 * The work of a unit that belongs to this message alone: one attempt. A store may repeat it after a
 * rollback.
 */
export function attemptsInUnits<Tx>(
  ports: AttemptPorts<Tx>,
  reception: Reception<Tx>,
  onRecorded: (tx: Tx) => void = () => {},
): (unit: Unit<Tx>, givingUp: Pick<GivingUp, 'signal'>) => Promise<void> {
  let runs = 0
  return async (unit, { signal }) => {
    const given = ++runs === 1 ? reception : await withNewBody(ports.settings, reception)
    await attemptInUnit(ports, given, unit, signal, onRecorded)
  }
}

/**
 * The handler may have changed the body. What a step of the user has made of a body cannot be made
 * again inside of that step, so the handler gets that body as it is.
 */
async function withNewBody<Tx>(
  settings: AttemptPorts<Tx>['settings'],
  reception: Reception<Tx>,
): Promise<Reception<Tx>> {
  if (settings.incoming.length > 0) return reception
  const decoded = await decode(reception.delivery, reception.registration.type, settings)
  if (decoded.kind === 'reject') throw decoded.error
  return { ...reception, body: decoded.body }
}

function attemptInUnit<Tx>(
  { settings, senders }: AttemptPorts<Tx>,
  reception: Reception<Tx>,
  unit: Unit<Tx>,
  signal: AbortSignal,
  onRecorded: (tx: Tx) => void,
): Promise<void> {
  const { tracker, name: consumer } = settings
  const { tx } = unit
  const isDuplicate = async (): Promise<boolean> => {
    const key = { consumer, messageId: reception.delivery.message.id }
    if ((await tracker?.track(tx, key)) === 'duplicate') return true
    onRecorded(tx)
    return false
  }
  return attempt(
    reception,
    { tx, signal, call: (handler) => handler((fields) => senders.make(unit, fields)) },
    isDuplicate,
    settings,
  )
}
