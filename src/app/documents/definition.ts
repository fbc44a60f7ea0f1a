import { MersalError } from '../../core/errors/errors.ts'
import type { StandardSchema } from '../../core/messages/schema.ts'

/** A kind of aggregate: the name of its collection, and what its state looks like. */
export interface DocumentType<State = unknown> {
  readonly kind: 'document'
  readonly name: string
  readonly schema?: StandardSchema<unknown, State>
  /** Only for the compiler: the type of the state. Never set. */
  readonly _state?: State
}

/**
 * Defines a kind of aggregate. With a Standard Schema every state is checked before it is stored;
 * what is stored is what the schema makes of it. Throws `MERSAL_INVALID_OPTIONS` unless the name is
 * 1 to 100 letters, digits, `.`, `_` or `-`.
 */
export function document<State = unknown>(
  name: string,
  schema?: StandardSchema<unknown, State>,
): DocumentType<State> {
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) {
    const text = "document name: expected 1 to 100 letters, digits, '.', '_' or '-'"
    throw new MersalError('MERSAL_INVALID_OPTIONS', text, { details: { field: 'name' } })
  }
  if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function') {
    const text = `document('${name}').schema: expected a Standard Schema, an object with '~standard'.validate`
    throw new MersalError('MERSAL_INVALID_OPTIONS', text, { details: { field: 'schema' } })
  }
  return Object.freeze({ kind: 'document', name, ...(schema === undefined ? {} : { schema }) })
}
