import { suggest } from '../lib/suggest.ts'
import { MersalError } from './errors/errors.ts'

function invalid(field: string, text: string): MersalError {
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
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid(where, `expected an object with options, got ${kindOf(given)}`)
  }
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue
    const near = suggest(name, known)
    const remedy =
      near === undefined ? `known options are ${known.join(', ')}` : `did you mean '${near}'?`
    throw invalid(`${where}.${name.slice(0, 100)}`, `there is no such option; ${remedy}`)
  }
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
    throw invalid(
      field,
      `expected ${whole ? 'a whole number' : 'a number'} from ${bounds.min} to ${bounds.max}, got ${got}`,
    )
  }
  return given
}

/** The value, undefined if it was not given. Throws unless it is true or false. */
export function checkBoolean(field: string, given: unknown): boolean | undefined {
  if (given !== undefined && typeof given !== 'boolean')
    throw invalid(field, `expected true or false, got ${kindOf(given)}`)
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
    throw invalid(field, `expected one of ${choices.map((choice) => `'${choice}'`).join(', ')}`)
  }
  return given as Choice
}

/** Throws unless every named member of the object is a function. */
export function checkShape(field: string, given: unknown, methods: readonly string[]): void {
  if (typeof given !== 'object' || given === null)
    throw invalid(field, `expected an object, got ${kindOf(given)}`)
  for (const method of methods) {
    if (typeof (given as Record<string, unknown>)[method] !== 'function') {
      throw invalid(field, `has no method '${method}'`)
    }
  }
}
