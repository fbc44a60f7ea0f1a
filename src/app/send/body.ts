import { isUint8Array } from 'node:util/types'
import { MersalError } from '../../core/errors/errors.ts'
import type { MessageType } from '../../core/messages/message.ts'
import type { SchemaIssue, SchemaResult } from '../../core/messages/schema.ts'
import type { Serializer } from '../../core/messages/serializer.ts'
import { kindOfAnswer } from '../../lib/async/late-answer.ts'
import { printable } from '../../lib/text.ts'

/**
 * Returns the body as the schema gives it back, or the body itself if the type has no schema.
 * Throws `MERSAL_INVALID_BODY`. The text names only the fields, since texts of schemas may quote
 * values. Returns a promise only if the schema does.
 */
export function validateBody(type: MessageType, body: unknown): unknown {
  if (type.schema === undefined) return body
  let result: SchemaResult<unknown> | Promise<SchemaResult<unknown>>
  try {
    result = type.schema['~standard'].validate(body)
  } catch (cause) {
    throw schemaFailed(type, cause)
  }
  if (!isPromise(result)) return accepted(type, result)
  return result.then(
    (settled) => accepted(type, settled),
    (cause: unknown) => {
      throw schemaFailed(type, cause)
    },
  )
}

export function isPromise<Value>(value: Value | Promise<Value>): value is Promise<Value> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  )
}

function accepted(type: MessageType, result: SchemaResult<unknown>): unknown {
  if (typeof result !== 'object' || result === null)
    throw schemaFailed(type, new TypeError(`it answered with ${kindOfAnswer(result)}`))
  if (result.issues === undefined) return result.value
  const issues = result.issues.map((issue) => ({ path: pathOf(issue), message: issue.message }))
  const fields = [
    ...new Set(
      issues.map((issue) => (issue.path === '' ? 'the body itself' : `'${printable(issue.path)}'`)),
    ),
  ]
  throw new MersalError(
    'MERSAL_INVALID_BODY',
    `the schema of '${type.name}' refuses the body: see ${fields.slice(0, 10).join(', ')}`,
    {
      details: { type: type.name, issues },
    },
  )
}

function schemaFailed(type: MessageType, cause: unknown): MersalError {
  return new MersalError(
    'MERSAL_INVALID_BODY',
    `the schema of '${type.name}' threw instead of answering`,
    {
      cause,
      details: { type: type.name },
    },
  )
}

function pathOf(issue: SchemaIssue): string {
  return (issue.path ?? [])
    .map((part) => String(typeof part === 'object' ? part.key : part))
    .join('.')
}

/** The bytes of the body. Throws `MERSAL_ENCODE`, naming the type. */
export function encodeBody(serializer: Serializer, type: MessageType, body: unknown): Uint8Array {
  let bytes: unknown
  try {
    bytes = serializer.encode(body)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'the serializer failed'
    throw new MersalError('MERSAL_ENCODE', `body of '${type.name}': ${why}`, {
      cause,
      details: { type: type.name },
    })
  }
  if (isUint8Array(bytes)) return bytes
  throw new MersalError(
    'MERSAL_ENCODE',
    `body of '${type.name}': the serializer must return a Uint8Array, and returned ${kindOfAnswer(bytes)}`,
    {
      details: { type: type.name },
    },
  )
}
