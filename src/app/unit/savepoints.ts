import { MersalError } from '../../core/errors/errors.ts'
import type { Savepoint, Savepoints } from '../../core/store.ts'
import type { Ambient } from './ambient.ts'
import type { UnitSender } from '../types.ts'
import { unitEnded } from '../send/unit-errors.ts'
import type { Captured } from './held/slots.ts'
import type { Level, Unit } from './unit.ts'

export interface SavepointPorts<Tx> {
  readonly ambient: Ambient<Tx>
  readonly savepoints: Savepoints<Tx> | undefined
}

/** Makes the function `savepoint` of a unit. */
export function savepointIn<Tx>(
  { ambient, savepoints }: SavepointPorts<Tx>,
  unit: Unit<Tx>,
): UnitSender['savepoint'] {
  if (savepoints === undefined) return noSavepoints
  return (work) =>
    unit.nest('savepoint()', async () => {
      const level = unit.enter()
      const opened = await orLeave(unit, level, () => savepoints.open(unit.tx))
      const scope = ambient.getStore()
      let result: Awaited<ReturnType<typeof work>>
      try {
        result = await ambient.run({ unit, cause: scope?.cause, level }, work)
        unit.assertAwaited(level)
        if (!unit.open) throw unitEnded('the end of savepoint()')
        await released(opened)
      } catch (error) {
        await rollBack(unit, level, opened)
        throw error
      }
      unit.leave(level, 'released')
      return result
    })
}

async function orLeave<Tx, Result>(
  unit: Unit<Tx>,
  level: Level,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    unit.leave(level, 'rolled back')
    throw error
  }
}

async function released(savepoint: Savepoint): Promise<void> {
  try {
    await savepoint.release()
  } catch (cause) {
    const text =
      'savepoint(): a statement inside had failed and its error was caught, so the savepoint was rolled back. Let the error through'
    throw new MersalError('MERSAL_ROLLED_BACK', text, { cause })
  }
}

async function rollBack<Tx>(unit: Unit<Tx>, level: Level, savepoint: Savepoint): Promise<void> {
  // A unit that was given up is rolled back as a whole.
  if (!unit.open) return
  try {
    await savepoint.rollBack()
    unit.leave(level, 'rolled back')
  } catch (error) {
    unit.leave(level, 'released')
    // The rows are still there, so the whole unit has to be rolled back.
    await unit.join(() => Promise.reject(error)).catch(() => {})
  }
}

const noSavepoints: UnitSender['savepoint'] = () =>
  Promise.reject(
    new MersalError('MERSAL_INVALID_OPTIONS', 'savepoint(): the store of this app offers none'),
  )

/** The function `savepoint` where there is no unit. */
export const savepointNowhere: UnitSender['savepoint'] = () =>
  Promise.reject(
    new MersalError(
      'MERSAL_NO_TRANSACTION',
      'savepoint(): this app has no database, so that nothing could be rolled back',
    ),
  )

/**
 * The messages of a unit, without those that a rollback to a savepoint has undone, and without
 * those that were taken back, unless that was undone.
 */
export async function keptMessages<Tx>(
  savepoints: Savepoints<Tx> | undefined,
  tx: Tx,
  captured: readonly Captured[],
): Promise<Captured['message'][]> {
  const kept = captured.length === 0 ? undefined : await savepoints?.kept(tx)
  const stays = (number: number): boolean => kept?.has(number) !== false
  return captured
    .filter(({ number, cancels }) => stays(number) && !cancels.some(stays))
    .map(({ message }) => message)
}
