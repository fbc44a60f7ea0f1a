import { isMersalError } from '../core/errors/errors.ts'
import { toError } from '../lib/async/abort.ts'

/**
 * The message with those of its causes, since the reason of a failed connection is in the cause.
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
  return `${parts.join(': ')}${isMersalError(error) ? ` (${error.code})` : ''}`
}
