import { isUint8Array } from 'node:util/types'
import { MersalError } from '../../core/errors/errors.ts'
import { invalidOption } from '../../core/options.ts'
import type { UnitOfWork } from '../../core/store.ts'
import type { Opening, Session, SqlValue } from '../session.ts'
import type { End, Lent } from './lent/lent.ts'
import { LibraryUnit, type OpenedUnit, rememberUnit } from '../units/library-unit.ts'

/** The refusal of a handle that is not an open transaction. `how` says how to get one. */
export function notATransaction(library: string, how: string): MersalError {
  return new MersalError(
    'MERSAL_NOT_A_TRANSACTION',
    `${library}: this is no open transaction; ${how}`,
    { details: { library } },
  )
}

/**
 * Throws `MERSAL_INVALID_OPTIONS` unless what was given to a session has these methods. `how`: what
 * to give.
 */
export function checkLibrary(
  call: string,
  given: unknown,
  methods: readonly string[],
  how: string,
): void {
  const found = Object(given) as Readonly<Record<string, unknown>>
  const missing = methods.find((method) => typeof found[method] !== 'function')
  if (missing !== undefined)
    throw invalidOption(call, `give it ${how}; what it got has no method '${missing}'`)
}

/** True for an object whose member of this name is a function. */
export function hasMethod(value: unknown, name: string): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Record<string, unknown>)[name] === 'function'
  )
}

/** Some libraries hand out functions with members; this says no more than that it is one. */
export function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}

/** Rows, whether the driver answers with an array of them or with an object that has them. */
export function rowsOf(answer: unknown): readonly Record<string, unknown>[] {
  if (Array.isArray(answer)) return answer as Record<string, unknown>[]
  return (answer as { rows?: Record<string, unknown>[] } | undefined)?.rows ?? []
}

/** Bytes as the `Buffer` that older drivers insist on; the memory is shared, not copied. */
export function withBuffers(values: readonly SqlValue[]): SqlValue[] {
  return values.map((value) =>
    isUint8Array(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value,
  )
}

/** A statement cut at its placeholders: `texts` has one part more than `values`. */
export function splitPlaceholders(
  text: string,
  values: readonly SqlValue[],
): { readonly texts: string[]; readonly values: SqlValue[] } {
  const pieces = text.split(/\$(\d+)/)
  const texts = pieces.filter((_, index) => index % 2 === 0)
  const numbers = pieces.filter((_, index) => index % 2 === 1)
  return { texts, values: numbers.map((number) => values[Number(number) - 1] ?? null) }
}

/**
 * Transactions that the library opens. These libraries do not look at the answer to COMMIT: after a
 * failed statement whose error was caught, PostgreSQL rolls back and they report success. So one
 * more statement is run before the commit: it fails in such a transaction, which rolls it back
 * with an error, and it tells whether this is still the transaction that the library has opened.
 */
export function unitOfWork<Tx>(
  library: string,
  executor: Session<Tx>['executor'],
  open: <Result>(work: (tx: Tx) => Promise<Result>) => Promise<Result>,
  lend: (tx: Tx) => Lent<Tx> | Promise<Lent<Tx>> = (tx) => ({ tx, revoke: () => {} }),
): UnitOfWork<Tx> {
  return openedUnits({ open, lend, unitOn: (tx) => new LibraryUnit(library, executor(tx)) })
}

/** A unit that knows how to look whether its transaction can still be committed. */
export interface CheckedUnit extends OpenedUnit {
  begin(): Promise<void>
  /** The statements that `assertWhole` sends. */
  readonly questions: readonly string[]
  /** Throws unless this is the transaction of the unit, and can be committed. */
  assertWhole(): Promise<void>
}

export interface UnitMaker<Tx> {
  readonly open: <Result>(work: (tx: Tx) => Promise<Result>) => Promise<Result>
  readonly lend: (tx: Tx) => Lent<Tx> | Promise<Lent<Tx>>
  readonly unitOn: (tx: Tx) => CheckedUnit
}

/** The same on any database: it is looked at just before the library sends its COMMIT. */
export function openedUnits<Tx>({ open, lend, unitOn }: UnitMaker<Tx>): UnitOfWork<Tx> {
  return async (work, options) => {
    options?.signal?.throwIfAborted()
    using ended = new DisposableStack()
    return await open(async (handle) => {
      const unit = unitOn(handle)
      await unit.begin()
      const lent = await lend(handle)
      ended.defer(() => lent.release?.())
      return await inUnit(lent, unit, work)
    })
  }
}

async function inUnit<Tx, Result>(
  { tx, revoke }: Lent<Tx>,
  unit: CheckedUnit,
  work: (tx: Tx) => Promise<Result>,
): Promise<Result> {
  rememberUnit(tx, unit)
  let end: End = 'rollback'
  try {
    const result = await work(tx)
    revoke(unit.questions)
    await unit.assertWhole()
    end = 'commit'
    return result
  } finally {
    revoke([end])
  }
}

/** `unitOfWork`, with what it is made of. */
export function units<Tx>(
  library: string,
  executor: Session<Tx>['executor'],
  open: Opening<Tx>['open'],
  lend: Opening<Tx>['lend'] = (tx) => ({ tx, revoke: () => {} }),
): Required<Pick<Session<Tx>, 'unitOfWork' | 'opening'>> {
  return { unitOfWork: unitOfWork(library, executor, open, lend), opening: { open, lend } }
}
