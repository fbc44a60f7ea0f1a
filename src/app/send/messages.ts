import { MersalError } from '../../core/errors/errors.ts'
import type { CommandType, EventType, MessageType } from '../../core/messages/message.ts'
import type { StandardSchema } from '../../core/messages/schema.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'
import { printable } from '../../lib/text.ts'

/**
 * Defines a command: it is sent to the one app that owns it.
 *
 * The body's type is given (`command<{ name: string }>('students.register')`) or comes from a
 * Standard Schema, which then checks every body before it is stored and when it arrives. What
 * travels is what the schema makes of the body, so the schema must accept its own result.
 * Throws `MERSAL_INVALID_MESSAGE` for a name that cannot travel.
 */
export function command<Body = unknown>(
  name: string,
  schema?: StandardSchema<unknown, Body>,
): CommandType<Body> {
  return define('command', name, schema)
}

/** Defines an event: it is published to everyone who subscribed. Bodies as for `command`. */
export function event<Body = unknown>(
  name: string,
  schema?: StandardSchema<unknown, Body>,
): EventType<Body> {
  return define('event', name, schema)
}

function define<Kind extends 'command' | 'event', Body>(
  kind: Kind,
  name: string,
  schema: StandardSchema<unknown, Body> | undefined,
): MessageType<Kind, Body> {
  if (!isName(name)) {
    const given =
      typeof name === 'string' ? `'${printable(name)}'` : `a value of type ${typeof name}`
    throw new MersalError(
      'MERSAL_INVALID_MESSAGE',
      `${kind} name: expected ${nameRule}, got ${given}`,
      { details: { field: 'name' } },
    )
  }
  if (schema === undefined) return Object.freeze({ kind, name })
  if (typeof schema?.['~standard']?.validate !== 'function') {
    const text = `schema of ${kind} '${name}': expected a Standard Schema (zod, valibot, arktype, …), an object with '~standard'.validate`
    throw new MersalError('MERSAL_INVALID_MESSAGE', text, { details: { field: 'schema' } })
  }
  return Object.freeze({ kind, name, schema })
}

/** Throws unless this was made by `command` or `event` and is of the kind that the call wants. */
export function checkMessageType(
  call: string,
  type: unknown,
  kind?: 'command' | 'event',
): asserts type is MessageType {
  const given = type as Partial<MessageType> | null | undefined
  if (
    typeof given !== 'object' ||
    given === null ||
    !isName(given.name) ||
    (given.kind !== 'command' && given.kind !== 'event')
  ) {
    throw new MersalError(
      'MERSAL_INVALID_MESSAGE',
      `${call}: expected a message type made by command() or event()`,
    )
  }
  if (kind === undefined || given.kind === kind) return
  const remedy =
    kind === 'command'
      ? 'publish() it, or define it with command()'
      : 'send() it, or define it with event()'
  throw new MersalError(
    'MERSAL_INVALID_MESSAGE',
    `${call}: '${given.name}' is a ${given.kind}; ${remedy}`,
  )
}
