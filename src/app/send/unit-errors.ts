import { MersalError } from '../../core/errors/errors.ts'

// Errors of calls in a unit of work.

export function notAwaited(what: string, where: string): MersalError {
  const text = `${what} was not awaited when ${where} ended, so the unit was rolled back: await every call`
  return new MersalError('MERSAL_NOT_AWAITED', text)
}

export function parallel(what: string): MersalError {
  const text = `${what} was called beside an open savepoint of the same transaction, or after its own savepoint had ended, so that nobody can tell whether it belongs to it`
  return new MersalError('MERSAL_PARALLEL_SAVEPOINT', `${text}: await savepoint() before you go on`)
}

export function unitEnded(what: string): MersalError {
  const remedy = 'await it inside the unit, or open a new one with app.transaction()'
  return new MersalError('MERSAL_UNIT_ENDED', `${what} came after its unit had ended: ${remedy}`)
}
