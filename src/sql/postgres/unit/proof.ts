/**
 * Proves that a statement runs in the transaction in which somebody called us, and not alone, nor
 * in a later one of the same connection. See ADR 0142.
 *
 * `now()` does not tell: in the extended protocol a statement on its own has begun with its Parse
 * and runs with its Execute, some microseconds later. These tell, and cannot be mistaken:
 *
 * - A transaction that has a number when our statement begins has written before: it is more than
 *   our statement.
 * - A setting that is local to a transaction vanishes with it, and with the savepoint in which it
 *   was made. So a random mark that is found again was left in this very transaction.
 */

/**
 * Marks of this transaction, the youngest first. More than one only if several handles or programs
 * share it.
 */
const MARKS = `coalesce(pg_catalog.current_setting('mersal.within', true), '')`
/**
 * Enough for some twenty marks, so that a transaction of a million calls does not carry a million
 * of them.
 */
const MARKS_LENGTH = 600

const leave = (mark: string): string =>
  `pg_catalog.set_config('mersal.within', left(${mark}::text || ${MARKS}, ${MARKS_LENGTH}), true)`

/**
 * $1 mark, $2 another one or an empty text. Leaves the mark in the transaction that is open, unless
 * that has the other one. Answers which of them it has.
 */
export const markStatement: string = `select case
    when $2::text <> '' and strpos(${MARKS}, $2::text) > 0 then $2::text
    when ${leave('$1')} is not null then $1::text end as mark`

/**
 * A condition. `mark`: parameter, null in a transaction that is ours. `only`: parameter; true:
 * nothing but the mark counts. If not, a transaction that has written counts as well; the mark is
 * left in any case, so that a second attempt knows for sure. Must be evaluated before the statement
 * writes anything, sequences included.
 */
export const proof = (mark: string, only: string): string => `case
    when ${mark}::text is null then true
    when strpos(${MARKS}, ${mark}::text) > 0 then true
    when ${only}::boolean then false
    else ${leave(mark)} is not null and pg_catalog.pg_current_xact_id_if_assigned() is not null end`
