import type { MessageType } from '../../core/messages/message.ts'
import type { StandardSchema } from '../../core/messages/schema.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'
import { checkNumber, checkOptions, invalidOption } from '../../core/options.ts'
import { printable } from '../../lib/text.ts'

/** Options of `saga()`. */
export interface SagaOptions<State> {
  /**
   * Standard Schema of the state. It checks every state before it is stored and when it is read.
   * It must accept its own result. Default: no check.
   */
  readonly state?: StandardSchema<unknown, State>
  /** Version of the shape of the state, from 1. Default 1. */
  readonly version?: number
  /**
   * Makes a state of the present version from one of an earlier version. Needed from version 2 on.
   * Default none.
   */
  readonly upgrade?: (state: unknown, version: number) => unknown
}

/** A long-running process: its name, and what is known of its state. Made by `saga()`. */
export interface SagaType<State> {
  readonly name: string
  readonly version: number
  readonly upgrade: ((state: unknown, version: number) => unknown) | undefined
  /** Validates and names the state, as a message type does for a body. */
  readonly state: MessageType<'command', State>
}

/** Throws `MERSAL_INVALID_OPTIONS` unless this was made by `saga()`. */
export function checkSaga(call: string, given: unknown): asserts given is SagaType<unknown> {
  const { name, state } = Object(given) as Partial<SagaType<unknown>>
  if (typeof name !== 'string' || typeof state?.name !== 'string')
    throw invalidOption(call, 'expected a saga made by saga()')
}

/** Name of the messages that a saga sends to itself. */
export const timeoutName = (saga: string): string => `${saga}.timeout`

/**
 * Defines a saga. Its name is stored with every instance, so it never changes.
 *
 * Throws `MERSAL_INVALID_OPTIONS`, which names the field.
 */
export function saga<State = unknown>(
  name: string,
  options: SagaOptions<State> = {},
): SagaType<State> {
  if (!isName(name)) {
    const given =
      typeof name === 'string' ? `'${printable(name)}'` : `a value of type ${typeof name}`
    throw invalidOption('saga().name', `expected ${nameRule}, got ${given}`)
  }
  const call = `saga('${name}')`
  if (!isName(timeoutName(name))) throw invalidOption('saga().name', 'has at most 192 characters')
  checkOptions(call, options, ['state', 'version', 'upgrade'])
  const { state: schema, upgrade } = options
  if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function')
    throw invalidOption(
      `${call}.state`,
      "expected a Standard Schema, an object with '~standard'.validate",
    )
  const bounds = { default: 1, min: 1, max: 1_000_000 }
  const version = checkNumber(`${call}.version`, options.version, bounds)
  if (upgrade !== undefined && typeof upgrade !== 'function')
    throw invalidOption(`${call}.upgrade`, `expected a function, got ${typeof upgrade}`)
  if (version > 1 && upgrade === undefined)
    throw invalidOption(
      `${call}.upgrade`,
      `version ${version} needs it, to read states of version 1`,
    )
  const described = `the state of saga ${name}`
  const state: MessageType<'command', State> =
    schema === undefined
      ? { kind: 'command', name: described }
      : { kind: 'command', name: described, schema }
  return Object.freeze({ name, version, upgrade, state })
}
