import { parseArgs } from 'node:util'
import { suggest } from '../lib/suggest.ts'
import { UsageError } from './exit.ts'

export interface OptionSpec {
  readonly kind: 'flag' | 'text' | 'number' | 'time'
  /** How its value is called in the help. */
  readonly value?: string
  readonly text: string
  readonly short?: string
  readonly min?: number
  readonly max?: number
}

/** Checked positionals and options of one call. */
export interface Arguments {
  readonly positionals: readonly string[]
  flag(name: string): boolean
  text(name: string): string | undefined
  number(name: string): number | undefined
  /** Milliseconds since the Unix epoch. */
  time(name: string): number | undefined
}

/** Throws `UsageError` with a suggestion for an option that does not exist. */
export function parseArguments(given: readonly string[], specs: Specs, now: number): Arguments {
  const { values, positionals, tokens } = parseArgs({
    args: [...given],
    options: parserOptions(specs),
    strict: false,
    tokens: true,
    allowPositionals: true,
  })
  const seen = new Set<string>()
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    checkOption(token, specs)
    if (seen.has(token.name)) throw new UsageError(`--${token.name} is given twice`)
    seen.add(token.name)
  }
  const text = (name: string): string | undefined =>
    typeof values[name] === 'string' ? values[name] : undefined
  const checked: Arguments = {
    positionals,
    flag: (name) => values[name] === true,
    text,
    number: (name) => numberOf(name, text(name), specs[name]),
    time: (name) => timeOf(name, text(name), now),
  }
  for (const [name, { kind }] of Object.entries(specs)) {
    if (kind === 'number') checked.number(name)
    if (kind === 'time') checked.time(name)
  }
  return checked
}

type Specs = Readonly<Record<string, OptionSpec>>

interface ParserOption {
  type: 'boolean' | 'string'
  short?: string
}

/** The same options in the form of `parseArgs`. */
function parserOptions(specs: Specs): Record<string, ParserOption> {
  return Object.fromEntries(
    Object.entries(specs).map(([name, { kind, short }]) => [
      name,
      { type: kind === 'flag' ? 'boolean' : 'string', ...(short === undefined ? {} : { short }) },
    ]),
  )
}

interface OptionToken {
  readonly name: string
  readonly rawName: string
  readonly value?: string | undefined
  /** Written `--name=value`. */
  readonly inlineValue?: boolean | undefined
}

/** It exists, and has a value if it takes one. */
function checkOption({ name, rawName, value, inlineValue }: OptionToken, specs: Specs): void {
  const spec = Object.hasOwn(specs, name) ? specs[name] : undefined
  if (spec === undefined) throw unknownOption(rawName, specs)
  if (spec.kind === 'flag') {
    if (value !== undefined) throw new UsageError(`--${name} takes no value`)
    return
  }
  if (value === undefined || value === '')
    throw new UsageError(`--${name} needs a value: --${name} ${spec.value ?? 'VALUE'}`)
  if (inlineValue !== true && value.startsWith('-')) {
    throw new UsageError(
      `--${name} needs a value; one that begins with '-' is written --${name}=VALUE`,
    )
  }
}

function unknownOption(raw: string, specs: Specs): UsageError {
  const near = suggest(raw.replace(/^-+/, ''), Object.keys(specs))
  return new UsageError(
    `there is no option ${raw.slice(0, 60)}; ${near === undefined ? 'see --help' : `did you mean --${near}?`}`,
  )
}

function numberOf(
  name: string,
  text: string | undefined,
  spec: OptionSpec | undefined,
): number | undefined {
  if (text === undefined) return undefined
  const number = Number(text)
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = spec ?? {}
  if (!/^\d+$/.test(text) || number < min || number > max)
    throw new UsageError(`--${name}: expected a whole number from ${min} to ${max}`)
  return number
}

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** A time of the calendar with its zone, a day (UTC), or an age such as `90m`. */
function timeOf(name: string, text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined
  const age = /^(\d+)(ms|s|m|h|d)$/.exec(text)
  if (age !== null) return now - Number(age[1]) * (units[age[2] ?? ''] ?? 0)
  const time =
    /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/.test(
      text,
    )
      ? Date.parse(text)
      : Number.NaN
  if (Number.isNaN(time)) {
    throw new UsageError(
      `--${name}: expected an age such as 90m, 24h or 7d, a day such as 2026-11-23 (UTC), or a time such as 2026-11-23T14:30Z`,
    )
  }
  return time
}
