import type { Backoff } from '../lib/async/backoff.ts'
import { type Clock, type Random, systemClock, systemRandom } from '../lib/async/clock.ts'
import { suggest } from '../lib/suggest.ts'
import { MersalError } from './errors/errors.ts'
import { mainTransport } from './messages/message.ts'
import { isName, nameRule } from './messages/validation.ts'
import { type Logger, silentLogger, stderrLogger } from './telemetry.ts'
import type { Transport } from './transport.ts'

/** The error for an option that is not as documented. */
export function invalidOption(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

/** Says what was given without showing it, since it may be a secret. */
function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a value of type ${typeof value}`
}

/**
 * Throws `MERSAL_INVALID_OPTIONS` unless this is a plain object with no other fields than the known
 * ones.
 */
export function checkOptions(where: string, given: unknown, known: readonly string[]): void {
  if (!isRecord(given))
    throw invalidOption(where, `expected an object with options, got ${kindOf(given)}`)
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue
    const near = suggest(name, known)
    const remedy =
      near === undefined ? `known options are ${known.join(', ')}` : `did you mean '${near}'?`
    throw invalidOption(`${where}.${name.slice(0, 100)}`, `there is no such option; ${remedy}`)
  }
}

function isRecord(given: unknown): given is object {
  return typeof given === 'object' && given !== null && !Array.isArray(given)
}

/**
 * Throws `MERSAL_INVALID_OPTIONS` unless this is an object whose names are up to the user. `what`:
 * what is under each of them.
 */
export function checkNamed(where: string, given: unknown, what: string): void {
  if (!isRecord(given))
    throw invalidOption(where, `expected an object with ${what} by name, got ${kindOf(given)}`)
}

/**
 * The number, or the default when it is undefined. Throws unless it is finite and within the
 * bounds.
 */
export function checkNumber(
  field: string,
  given: unknown,
  bounds: {
    readonly default: number
    readonly min: number
    readonly max: number
    readonly integer?: boolean
  },
): number {
  if (given === undefined) return bounds.default
  const whole = bounds.integer ?? true
  const fits =
    typeof given === 'number' &&
    given >= bounds.min &&
    given <= bounds.max &&
    (!whole || Number.isInteger(given))
  if (!fits) {
    const got = typeof given === 'number' ? String(given) : kindOf(given)
    throw invalidOption(
      field,
      `expected ${whole ? 'a whole number' : 'a number'} from ${bounds.min} to ${bounds.max}, got ${got}`,
    )
  }
  return given
}

/** The value, undefined if it was not given. Throws unless it is true or false. */
export function checkBoolean(field: string, given: unknown): boolean | undefined {
  if (given !== undefined && typeof given !== 'boolean')
    throw invalidOption(field, `expected true or false, got ${kindOf(given)}`)
  return given
}

/** The value, or the default when it is undefined. Throws unless it is one of the choices. */
export function checkChoice<Choice extends string>(
  field: string,
  given: unknown,
  choices: readonly Choice[],
  preset: Choice,
): Choice {
  if (given === undefined) return preset
  if (!choices.includes(given as Choice)) {
    throw invalidOption(
      field,
      `expected one of ${choices.map((choice) => `'${choice}'`).join(', ')}`,
    )
  }
  return given as Choice
}

/** The clock, or that of the system. Throws unless it can do what a clock does. */
export function checkClock(field: string, given: unknown): Clock {
  if (given === undefined) return systemClock
  checkShape(field, given, ['now', 'monotonic', 'sleep'])
  return given as Clock
}

/** The chance, or `Math.random`. Throws unless it is a function. */
export function checkRandom(field: string, given: unknown): Random {
  if (given === undefined) return systemRandom
  if (typeof given !== 'function')
    throw invalidOption(field, `expected a function such as Math.random, got ${kindOf(given)}`)
  return given as Random
}

/** The signal, undefined if none was given. Throws unless it can abort and tell of it. */
export function checkSignal(field: string, given: unknown): AbortSignal | undefined {
  if (given === undefined) return undefined
  const { aborted } = Object(given) as { readonly aborted?: unknown }
  if (typeof aborted !== 'boolean')
    throw invalidOption(field, `expected an AbortSignal, got ${kindOf(given)}`)
  checkShape(field, given, ['addEventListener', 'throwIfAborted'])
  return given as AbortSignal
}

/** Throws unless every named member of the object is a function. */
export function checkShape(field: string, given: unknown, methods: readonly string[]): void {
  if (typeof given !== 'object' || given === null)
    throw invalidOption(field, `expected an object, got ${kindOf(given)}`)
  for (const method of methods) {
    if (typeof (given as Record<string, unknown>)[method] !== 'function') {
      throw invalidOption(field, `has no method '${method}'`)
    }
  }
}

const LONGEST_DELAY_MS = 86_400_000

/**
 * The backoff with its defaults filled in. `leastMs`: the shortest first delay that is allowed,
 * in milliseconds. Throws on anything else than documented.
 */
export function checkBackoff(
  field: string,
  given: Backoff | undefined,
  { preset, leastMs }: { readonly preset: Backoff; readonly leastMs: number },
): Required<Backoff> {
  if (given !== undefined) checkOptions(field, given, ['firstMs', 'longestMs', 'factor'])
  const firstMs = checkNumber(`${field}.firstMs`, given?.firstMs, {
    default: preset.firstMs,
    min: leastMs,
    max: LONGEST_DELAY_MS,
  })
  const longestMs = checkNumber(`${field}.longestMs`, given?.longestMs, {
    default: Math.max(preset.longestMs, firstMs),
    min: firstMs,
    max: LONGEST_DELAY_MS,
  })
  const factor = checkNumber(`${field}.factor`, given?.factor, {
    default: preset.factor ?? 2,
    min: 1,
    max: 100,
    integer: false,
  })
  return { firstMs, longestMs, factor }
}

/** The transport by default, and further ones by name. */
export interface GivenTransports {
  readonly transport?: Transport | undefined
  readonly bridges?: Readonly<Record<string, Transport>> | undefined
}

/**
 * The transports by the name in destinations. `prefix` stands before the names of the fields.
 * Throws unless each is a transport whose features can be relied on.
 */
export function checkTransports(
  prefix: string,
  { transport, bridges }: GivenTransports,
): ReadonlyMap<string, Transport> {
  const transports = new Map<string, Transport>()
  if (transport !== undefined)
    transports.set(mainTransport, checkTransport(`${prefix}transport`, transport))
  if (bridges === undefined) return transports
  checkNamed(`${prefix}bridges`, bridges, 'a transport')
  for (const [name, bridge] of Object.entries(bridges)) {
    const field = `${prefix}bridges.${name.slice(0, 100)}`
    if (name === mainTransport) throw invalidOption(field, "this name belongs to 'transport'")
    if (!isName(name)) throw invalidOption(field, `expected a name: ${nameRule}`)
    transports.set(name, checkTransport(field, bridge))
  }
  return transports
}

function checkTransport(field: string, transport: Transport): Transport {
  checkShape(field, transport, ['publish', 'subscribe', 'consume'])
  checkDisposable(field, transport)
  checkShape(`${field}.features`, transport.features, [])
  const { maxMessageBytes } = transport.features
  if (maxMessageBytes === undefined)
    throw invalidOption(`${field}.features.maxMessageBytes`, 'is missing')
  const limits = { default: 0, min: 1, max: Number.MAX_SAFE_INTEGER }
  if (maxMessageBytes !== Number.POSITIVE_INFINITY)
    checkNumber(`${field}.features.maxMessageBytes`, maxMessageBytes, limits)
  return transport
}

/** Throws unless the object can be closed. */
export function checkDisposable(field: string, given: AsyncDisposable): void {
  if (typeof given[Symbol.asyncDispose] !== 'function')
    throw invalidOption(field, 'has no method [Symbol.asyncDispose]')
}

/** `false`: silence. Undefined: warnings and errors as JSON lines on standard error. */
export function checkLogger(field: string, given: Logger | false | undefined): Logger {
  if (given === false) return silentLogger
  if (given === undefined) return stderrLogger
  checkShape(field, given, ['debug', 'info', 'warn', 'error'])
  return given
}
