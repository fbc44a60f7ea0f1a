import { causesOf } from '../core/errors/causes.ts'
import { codesOf } from '../core/errors/error-text.ts'
import { toError } from '../lib/async/abort.ts'

/**
 * The message with those of its causes, since the reason of a failed connection is in the cause,
 * and their codes: ours, those of the driver, the SQLSTATE.
 */
export function describeError(error: Error): string {
  const parts: string[] = []
  let current: unknown = error
  for (let depth = 0; current instanceof Error && depth < 4; depth++) {
    const { code } = current as { code?: unknown }
    const own =
      current instanceof AggregateError && current.message === ''
        ? current.errors.map((inner) => toError(inner).message).join(', ')
        : current.message
    const text = own === '' ? (typeof code === 'string' ? code : current.name) : own
    if (!parts.some((part) => part.includes(text))) parts.push(text)
    current = current.cause
  }
  const text = parts.join(': ')
  const codes = new Set(causesOf(error).flatMap(codesOf))
  const untold = [...codes].filter((code) => !text.includes(code))
  return untold.length === 0 ? text : `${text} (${untold.join(', ')})`
}
