import { isMersalError } from '../../core/errors/errors.ts'
import type { RunUnit } from '../unit/run-unit.ts'
import type { Unit } from '../unit/unit.ts'
import { type AttemptPorts, type Reception, attempt, handlerLimit } from './attempt.ts'
import { endedByHandler, forgetEarlyCommit } from './early-commit.ts'

/** Handles one message in a unit of its own. */
export async function handleAlone<Tx>(
  ports: AttemptPorts<Tx>,
  runUnit: RunUnit<Tx>,
  reception: Reception<Tx>,
): Promise<void> {
  const { delivery, signal, progress, registration } = reception
  const { settings } = ports
  let recordedIn: Tx | undefined
  progress.stage = 'opening'
  try {
    await runUnit({
      cause: delivery.message,
      signal,
      limit: handlerLimit(settings, registration),
      work: (unit, unitSignal) =>
        attemptInUnit(ports, reception, unit, unitSignal, (tx) => (recordedIn = tx)),
    })
  } catch (error) {
    if (recordedIn === undefined) throw error
    const records = { tx: recordedIn, messageIds: [delivery.message.id] }
    const committed = await forgetEarlyCommit(settings, records, signal)
    const known = !committed || isMersalError(error, 'MERSAL_TRANSACTION_ENDED')
    throw known ? error : endedByHandler(error)
  }
  progress.stage = 'done'
}

/** One attempt in an open unit that belongs to this message alone. */
export function attemptInUnit<Tx>(
  { settings, senders }: AttemptPorts<Tx>,
  reception: Reception<Tx>,
  unit: Unit<Tx>,
  signal: AbortSignal,
  onRecorded: (tx: Tx) => void = () => {},
): Promise<void> {
  const { tracker, onDuplicate, name: consumer } = settings
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
    onDuplicate,
  )
}
