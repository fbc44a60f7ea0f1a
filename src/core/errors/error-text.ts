import { isError } from '../../lib/is-error.ts'
import { causesOf, readProperty } from './causes.ts'
import { isMersalError } from './errors.ts'
import { withoutSecrets } from '../../lib/secrets.ts'

/**
 * Longest text of an error, in characters: it has to fit into a column, a header and a log line.
 */
const LONGEST = 2000
const LONGEST_STACK = 700
const MOST_FRAMES = 8

/**
 * The error with the whole chain of its causes, each with its code, as one text of at most 2,000
 * characters that can be stored and shown anywhere: secrets are hidden, there is no NUL and no lone
 * surrogate. Where it has to be cut, the longest parts are. `longest`: in characters.
 */
export function errorText(error: unknown, longest: number = LONGEST): string {
  return chainText(error, longest)
}

/**
 * `errorText`, and below it where the error was thrown: for a dead letter, which is all that is
 * left of it.
 */
export function errorTextWithStack(error: unknown): string {
  const stack = stackOf(error)
  if (stack === undefined) return errorText(error)
  return `${chainText(error, LONGEST - stack.length - 1)}\n${stack}`
}

/**
 * The lines of the stack, without the message, of the first error in the chain that is not our own.
 */
export function stackOf(error: unknown): string | undefined {
  const thrown = causesOf(error).find((one) => isError(one) && !isMersalError(one))
  const stack = readProperty(thrown, 'stack')
  if (typeof stack !== 'string') return undefined
  const frames = stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line) && !line.includes('node:internal'))
  if (frames.length === 0) return undefined
  return storable(withoutSecrets(frames.slice(0, MOST_FRAMES).join('\n')))
    .slice(0, LONGEST_STACK)
    .toWellFormed()
}

/** The code of the error, or of the first of its causes that has one; 'none' without any. */
export function errorCode(error: unknown): string {
  for (const one of causesOf(error)) {
    const code = readProperty(one, 'code')
    if (typeof code === 'string') return codeText(code)
  }
  return 'none'
}

/** Codes are shown where no text of an error is. Whoever throws may put anything there. */
function codeText(code: string): string {
  // Hidden before it is cut, since half a secret is not known for one.
  return storable(withoutSecrets(code.slice(0, LONGEST)))
    .slice(0, 100)
    .toWellFormed()
}

/** The fields of a log line for an error: its code, and its text with every cause. */
export function errorFields(error: unknown): { readonly code: string; readonly error: string } {
  return { code: errorCode(error), error: errorText(error) }
}

/**
 * What a logger prints of the value of a field: of an error all causes, and of a bigint the text.
 */
export function loggable(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  return isError(value) ? errorValue(value) : value
}

function errorValue(error: Error): Readonly<Record<string, unknown>> {
  const code = readProperty(error, 'code')
  return { name: nameOf(error), message: errorText(error), code, stack: stackOf(error) }
}

function chainText(error: unknown, longest: number): string {
  const parts: string[] = []
  let earlier = ''
  for (const one of causesOf(error)) {
    const part = partText(one, earlier)
    if (part === '') continue
    parts.push(part)
    earlier += `${messageOf(one)}\n`
  }
  return fitted(parts.length === 0 ? ['an error without a message'] : parts, longest)
}

const BETWEEN = '; caused by '

/** Cuts the longest parts until all of them fit. */
function fitted(parts: readonly string[], longest: number): string {
  const room = longest - BETWEEN.length * (parts.length - 1)
  let each = room
  while (parts.reduce((sum, part) => sum + Math.min(part.length, each), 0) > room)
    each = Math.floor(each * 0.9)
  const cut = parts.map((part) => (part.length > each ? `${part.slice(0, each - 1)}…` : part))
  return cut.join(BETWEEN).toWellFormed()
}

/** Name, message and codes. A message that an earlier part contains is left out. */
function partText(error: unknown, earlier: string): string {
  const message = messageOf(error)
  const codes = codesOf(error)
  const code = codes.length === 0 ? '' : ` (${codes.join(' ')})`
  const repeated = message === '' || earlier.includes(message)
  const name = nameOf(error)
  if (!repeated) return name === '' ? `${message}${code}` : `${name}: ${message}${code}`
  if (code === '' && earlier !== '') return ''
  return `${name === '' ? 'error' : name}${code}`
}

function messageOf(error: unknown): string {
  try {
    const text =
      typeof error === 'object' && error !== null ? readProperty(error, 'message') : String(error)
    return typeof text === 'string'
      ? storable(withoutSecrets(text))
      : 'an error that cannot be shown'
  } catch {
    return 'an error that cannot be shown'
  }
}

function nameOf(error: unknown): string {
  if (!isError(error)) return ''
  const name = readProperty(error, 'name')
  return typeof name === 'string' ? storable(name).slice(0, 100) : 'Error'
}

/** The code of the driver, the SQLSTATE, and the number that some drivers add. */
export function codesOf(error: unknown): readonly string[] {
  const given = ['code', 'sqlState', 'errcode'].map((name) => readProperty(error, name))
  const texts = given.flatMap((code) =>
    typeof code === 'string' || typeof code === 'number'
      ? [codeText(String(code)).slice(0, 60).toWellFormed()]
      : [],
  )
  return [...new Set(texts)].filter((code) => code !== '')
}

function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\uFFFD')
}
