import { MersalError } from '../../core/errors/errors.ts'
import type { CommandType } from '../../core/messages/message.ts'
import type { SchemaResult, StandardSchema } from '../../core/messages/schema.ts'
import { LONGEST_DELAY_MS } from '../../core/messages/validation.ts'
import { checkNumber, checkOptions, invalidOption } from '../../core/options.ts'
import { printable } from '../../lib/text.ts'
import { timeoutName } from './definition.ts'
import type { SagaDuration } from './types.ts'

/** What a timeout of an instance carries. */
export interface TimeoutBody {
  readonly key: string
  /** Id of the instance that asked for it. */
  readonly instance: string
  readonly name: string
  /** Only the timeout with the number that the instance has noted last is meant. */
  readonly number: number
}

/** The message that a saga sends to its own queue. */
export function timeoutType(saga: string): CommandType<TimeoutBody> {
  return Object.freeze({ kind: 'command', name: timeoutName(saga), schema: timeoutSchema })
}

const timeoutSchema: StandardSchema<unknown, TimeoutBody> = {
  '~standard': { version: 1, vendor: 'mersal', validate },
}

function validate(value: unknown): SchemaResult<TimeoutBody> {
  const { key, instance, name, number } = (value ?? {}) as Partial<TimeoutBody>
  const texts = [key, instance, name].every((text) => typeof text === 'string')
  if (texts && typeof number === 'number') return { value: value as TimeoutBody }
  return { issues: [{ message: 'expected a timeout: key, instance, name and number' }] }
}

/** What one message asked for. */
export interface Timeouts {
  /** Name → milliseconds. */
  readonly wanted: ReadonlyMap<string, number>
  readonly cancelled: ReadonlySet<string>
}

export interface TimeoutCalls {
  readonly timeouts: Timeouts
  /** From now on every call throws: nobody would look at what it asks for. */
  readonly end: () => void
  /** Throws `MERSAL_UNIT_ENDED` after the end. */
  readonly assertOpen: (call: string) => void
  readonly timeout: (name: string, after: SagaDuration) => void
  readonly cancelTimeout: (name: string) => void
}

/** Collects what a saga asks for while it handles one message. */
export function collectTimeouts(saga: string, known: ReadonlySet<string>): TimeoutCalls {
  const wanted = new Map<string, number>()
  const cancelled = new Set<string>()
  let over = false
  const assertOpen = (call: string): void => {
    if (over) throw tooLate(saga, call)
  }
  const check = (call: string, name: string): void => {
    const named = typeof name === 'string' ? `'${printable(name)}'` : typeof name
    assertOpen(`${call}(${named})`)
    if (known.has(name)) return
    const text = `the saga '${saga}' has no on.timeout(${named})`
    throw invalidOption(`${call}().name`, text)
  }
  const timeouts: Timeouts = { wanted, cancelled }
  return {
    timeouts,
    end: () => void (over = true),
    assertOpen,
    timeout(name: string, after: SagaDuration): void {
      check('timeout', name)
      wanted.set(name, durationMs(`timeout('${name}')`, after))
      cancelled.delete(name)
    },
    cancelTimeout(name: string): void {
      check('cancelTimeout', name)
      wanted.delete(name)
      cancelled.add(name)
    },
  }
}

function tooLate(saga: string, call: string): MersalError {
  const text = `${call} came after the saga '${saga}' had handled its message, and has no effect: await what calls it`
  return new MersalError('MERSAL_UNIT_ENDED', text, { details: { saga } })
}

const units = {
  days: 86_400_000,
  hours: 3_600_000,
  minutes: 60_000,
  seconds: 1000,
  milliseconds: 1,
} as const satisfies Record<keyof SagaDuration, number>

export function durationMs(field: string, after: SagaDuration): number {
  const names = Object.keys(units) as (keyof SagaDuration)[]
  checkOptions(field, after, names)
  const bounds = { default: 0, min: 0, max: LONGEST_DELAY_MS, integer: false }
  const total = names.reduce(
    (sum, name) => sum + checkNumber(`${field}.${name}`, after[name], bounds) * units[name],
    0,
  )
  const given = names.some((name) => after[name] !== undefined)
  if (given && total <= LONGEST_DELAY_MS) return Math.ceil(total)
  throw invalidOption(field, 'expected a duration of at most a year, such as { days: 30 }')
}
