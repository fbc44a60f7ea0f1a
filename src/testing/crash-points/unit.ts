import { AsyncLocalStorage } from 'node:async_hooks'
import type { UnitOfWork } from '../../core/store.ts'
import { type AtCrashPoint, phase } from './points.ts'

/** What became of the messages of one unit of work. */
interface UnitRows {
  /** Some are written, or left for the flight of the commit. */
  given: boolean
  /** P3 has been reached. */
  begun: boolean
}

const rowsOfUnit = new AsyncLocalStorage<UnitRows>()

/**
 * P3, before the first message of a transaction is written. A unit of a consumer has C5 instead,
 * and a transaction of somebody else has P3 at each call.
 */
export async function aboutToWrite(at: AtCrashPoint): Promise<void> {
  const rows = rowsOfUnit.getStore()
  if (rows?.begun === true) return
  if (rows !== undefined) rows.begun = true
  if (phase.getStore() !== 'consumer') await at('P3')
}

export function written(count: number): void {
  const rows = rowsOfUnit.getStore()
  if (rows !== undefined && count > 0) rows.given = true
}

/** The points of a unit, also of messages that travel with the COMMIT: nobody awaits those. */
export function unitOfWorkWithPoints<Tx>(inner: UnitOfWork<Tx>, at: AtCrashPoint): UnitOfWork<Tx> {
  return async (work, options) => {
    const consumer = phase.getStore() === 'delivery'
    if (!consumer) await at('P1')
    const workWithPoints: typeof work = (...given) => {
      const rows: UnitRows = { given: false, begun: false }
      return rowsOfUnit.run(rows, async () => {
        await at(consumer ? 'C2' : 'P2')
        const value = await work(...given)
        if (rows.given) await aboutToWrite(at)
        if (!consumer) await at('P4')
        else if (rows.given) await at('C5')
        return value
      })
    }
    const result = await phase.run(consumer ? 'consumer' : 'producer', () =>
      inner(workWithPoints, options),
    )
    if (!consumer) await at('P6')
    return result
  }
}
