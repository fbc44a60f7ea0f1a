import { checkHeaders, traceHeaders } from '../../core/messages/validation.ts'
import { isMersalError } from '../../core/errors/errors.ts'
import { invalidOption } from '../../core/options.ts'

const MOST = 50

/** Names of all headers that are inherited. Throws unless a sender could set each of them. */
export function inheritedHeaders(given: readonly string[] | undefined): readonly string[] {
  const field = 'inheritHeaders'
  if (given === undefined) return traceHeaders
  if (!Array.isArray(given) || given.length > MOST)
    throw invalidOption(field, `expected an array of at most ${MOST} names of headers`)
  for (const [index, name] of given.entries()) checkName(`${field}[${index}]`, name)
  return [...new Set([...traceHeaders, ...given.map((name) => name.toLowerCase())])]
}

function checkName(field: string, name: unknown): void {
  if (typeof name !== 'string') throw invalidOption(field, 'expected the name of a header')
  try {
    checkHeaders({ [name]: '' })
  } catch (error) {
    throw isMersalError(error) ? invalidOption(field, error.message) : error
  }
}
