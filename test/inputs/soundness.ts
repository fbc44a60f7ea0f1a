import { type ErrorCode, MersalError } from '../../src/core/errors/errors.ts'
import { hasControlCharacters } from '../../src/lib/text.ts'

/** Secrets that stand in URLs, configurations and variables; they must come out nowhere. */
export const canaries = {
  postgres: 'canary-pg-7f3a',
  rabbitmq: 'canary-mq-91bc',
  url: 'canary-url-55d0',
  variable: 'canary-env-2e6f',
} as const

/** Each canary in plain, encoded for a URL, and in base64. */
const forms = Object.values(canaries).flatMap((secret) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64').replace(/=+$/, ''),
])
/** All forms begin with one of these: to look for two words in megabytes costs less than for ten. */
const beginnings = ['canary-', Buffer.from('canary-').toString('base64').slice(0, 9)]
const unlike = forms.find((form) => !beginnings.some((beginning) => form.startsWith(beginning)))
if (unlike !== undefined) throw new Error(`nobody would look for ${unlike}`)
const leaked: string[] = []

/**
 * Looks for canaries in what leaves this process on any way, with the whole chain of its causes.
 */
export function hear(value: unknown): void {
  const text = allTextOf(value)
  if (!beginnings.some((beginning) => text.includes(beginning))) return
  for (const form of forms) {
    const at = text.indexOf(form)
    if (at >= 0) leaked.push(text.slice(Math.max(0, at - 200), at + 60))
  }
}

/** What was around the canaries that came out. */
export function leaks(): readonly string[] {
  return leaked
}

export function allTextOf(value: unknown, depth = 0): string {
  if (depth > 8) return ''
  if (value instanceof Error) {
    const fields = Object.entries(value).map(
      ([name, item]) => `${name}: ${allTextOf(item, depth + 1)}`,
    )
    const parts = [
      value.name,
      textOf(() => value.message),
      textOf(() => value.stack ?? ''),
      ...fields,
    ]
    if (value.cause !== undefined) parts.push(allTextOf(value.cause, depth + 1))
    if (value instanceof AggregateError)
      parts.push(...value.errors.map((error) => allTextOf(error, depth + 1)))
    return parts.join('\n')
  }
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1')
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.entries(value)
    .map(([name, item]) => `${name}: ${allTextOf(item, depth + 1)}`)
    .join('\n')
}

function textOf(read: () => unknown): string {
  try {
    return String(read())
  } catch {
    return ''
  }
}

const prototypes = [
  Object.prototype,
  Array.prototype,
  Function.prototype,
  String.prototype,
  Error.prototype,
] as const
const sound = prototypes.map((prototype) => Reflect.ownKeys(prototype).length)

/** Throws if something in this process has been given a field that everything inherits. */
export function checkPrototypes(): void {
  for (const [index, prototype] of prototypes.entries()) {
    if (Reflect.ownKeys(prototype).length !== sound[index])
      throw new Error('a prototype has been changed')
  }
  if (({} as { polluted?: unknown }).polluted !== undefined)
    throw new Error('a prototype has been polluted')
}

/**
 * Throws unless this is a refusal as users may expect it: the code, a field or the type named, and
 * a text that fits a terminal.
 */
export function checkRefusal(error: unknown, code: ErrorCode): void {
  hear(error)
  if (!(error instanceof MersalError))
    throw new Error(`expected ${code}, got ${allTextOf(error).slice(0, 500)}`)
  if (error.code !== code) throw new Error(`expected ${code}, got ${error.code}: ${error.message}`)
  if (error.message.length > 2000)
    throw new Error(`the text of the refusal has ${error.message.length} characters`)
  if (hasControlCharacters(error.message.replaceAll('\n', '')))
    throw new Error(`the text echoes control characters: ${JSON.stringify(error.message)}`)
  const named =
    typeof error.details['field'] === 'string' || typeof error.details['type'] === 'string'
  if (!named) throw new Error(`the refusal names no field: ${error.message}`)
}

/** Runs what must be refused. */
export async function refuses(code: ErrorCode, attempt: () => unknown): Promise<'refused'> {
  let result: unknown
  try {
    result = await attempt()
  } catch (error) {
    checkRefusal(error, code)
    return 'refused'
  }
  hear(result)
  throw new Error(`expected ${code}, but it was taken`)
}
