import { MersalError } from '../../core/errors/errors.ts'
import type { CommandType, EventType, MessageType } from '../../core/messages/message.ts'
import type { StandardSchema } from '../../core/messages/schema.ts'
import {
  contentTypeRule,
  invalidField,
  isContentType,
  isName,
  nameRule,
} from '../../core/messages/validation.ts'
import { checkOptions } from '../../core/options.ts'
import { printable } from '../../lib/text.ts'
import { type Upcaster, checkVersions } from '../contracts/versions.ts'

/** How bodies of a type travel. */
export interface ContractOptions {
  /**
   * Version of the bodies that are sent, from 1 to 1,000. Raise it when a body changes in a way
   * that its readers must know of. Default 1.
   */
  readonly version?: number
  /**
   * Under each earlier version a function that makes the next one of its body: `upcast: { 1: (old:
   * { name: string }) => ({ fullName: old.name }) }`. Older messages take these steps before the
   * schema and the handler see them. A step gets what the serializer read; it must not wait. Needed
   * from version 2 on. Default: none, for version 1.
   */
  readonly upcast?: Readonly<Record<number, Upcaster>>
  /**
   * Content type of the bodies that are sent: that of one of the `serializers` of the app. Default:
   * the first one.
   */
  readonly contentType?: string
}

/**
 * Defines a command: it is sent to the one app that owns it. `Reply` is the type of what it is
 * answered with, if it is requested.
 *
 * The body's type is given (`command<{ name: string }>('students.register')`) or comes from a
 * Standard Schema, which then checks every body before it is stored and when it arrives. What
 * travels is what the schema makes of the body, so the schema must accept its own result.
 * Throws `MERSAL_INVALID_MESSAGE` for a name that cannot travel, and for a version without a step
 * to the next one.
 */
export function command<Body = unknown, Reply = unknown>(
  name: string,
  schema?: StandardSchema<unknown, Body>,
  options?: ContractOptions,
): CommandType<Body, Reply> {
  return define('command', name, schema, options)
}

/** Defines an event: it is published to everyone who subscribed. Bodies as for `command`. */
export function event<Body = unknown>(
  name: string,
  schema?: StandardSchema<unknown, Body>,
  options?: ContractOptions,
): EventType<Body> {
  return define('event', name, schema, options)
}

function define<Kind extends 'command' | 'event', Body, Reply = unknown>(
  kind: Kind,
  name: string,
  schema: StandardSchema<unknown, Body> | undefined,
  options: ContractOptions | undefined,
): MessageType<Kind, Body, Reply> {
  if (!isName(name)) {
    const given =
      typeof name === 'string' ? `'${printable(name)}'` : `a value of type ${typeof name}`
    throw new MersalError(
      'MERSAL_INVALID_MESSAGE',
      `${kind} name: expected ${nameRule}, got ${given}`,
      { details: { field: 'name' } },
    )
  }
  const contract = options === undefined ? {} : contractOf(`${kind} '${name}'`, options)
  if (schema === undefined) return Object.freeze({ kind, name, ...contract })
  if (typeof schema?.['~standard']?.validate !== 'function') {
    const text = `schema of ${kind} '${name}': expected a Standard Schema (zod, valibot, arktype, …), an object with '~standard'.validate`
    throw new MersalError('MERSAL_INVALID_MESSAGE', text, { details: { field: 'schema' } })
  }
  return Object.freeze({ kind, name, schema, ...contract })
}

function contractOf(
  what: string,
  options: ContractOptions,
): Pick<MessageType, 'version' | 'upcast' | 'contentType'> {
  checkOptions(what, options, ['version', 'upcast', 'contentType'])
  const { contentType } = options
  if (contentType !== undefined && !isContentType(contentType))
    throw invalidField('contentType', `${what}: expected ${contentTypeRule}`)
  return { ...checkVersions(what, options), ...(contentType === undefined ? {} : { contentType }) }
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
