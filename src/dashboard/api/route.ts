import { bodyText } from '../http/body.ts'
import { problem } from '../http/problem.ts'
import type { Right } from '../access/rights.ts'
import type { Journal } from '../live/journal.ts'
import type { Watched } from '../live/watch.ts'
import type { Source } from '../sources.ts'

/** One field of what is asked. */
export interface Field {
  readonly kind: 'text' | 'number' | 'flag' | 'texts'
  readonly text: string
  readonly required?: true
  /** Longest text, in characters; largest number; most texts. */
  readonly most?: number
  /** Smallest number. Default 0. */
  readonly least?: number
  readonly choices?: readonly string[]
}

export type Input = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** What a route works with. */
export interface Desk {
  readonly sources: readonly Source[]
  readonly watched: () => Promise<readonly Watched[]>
  readonly journal: Journal
}

export interface Call {
  readonly desk: Desk
  readonly input: Input
  /** Of whoever asks. */
  readonly rights: ReadonlySet<Right>
}

/** The shape of an answer, as JSON Schema has it. */
export type Schema = Readonly<Record<string, unknown>>

/** One call of the admin API. */
export interface Route {
  readonly method: 'GET' | 'POST'
  /** Below `api/`. */
  readonly path: string
  readonly summary: string
  /** Without it, whoever may come in may call it. */
  readonly right?: Right
  /** Of the query, or of the body. */
  readonly fields: Readonly<Record<string, Field>>
  readonly answer: Schema
  readonly run: (call: Call) => Promise<unknown>
}

export const LONGEST_TEXT = 1000

/** How many of a list are wanted. */
export const limitField = (usual: number, most: number): Field => ({
  kind: 'number',
  least: 1,
  most,
  text: `At most this many. Default ${usual}.`,
})

/** What was asked. Throws a problem that names the field. */
export async function readInput(route: Route, request: Request): Promise<Input> {
  const given = route.method === 'GET' ? readQuery(request, route) : await readBody(request)
  for (const name of Object.keys(given))
    if (!Object.hasOwn(route.fields, name)) throw bad(`There is no field '${name.slice(0, 60)}'.`)
  const input: Record<string, Input[string]> = {}
  for (const [name, field] of Object.entries(route.fields)) {
    const value = given[name]
    if (value === undefined || value === '') {
      if (field.required === true) throw bad(`The field '${name}' is missing.`)
    } else input[name] = checked(name, field, value)
  }
  return input
}

const bad = (text: string): Error => problem(400, 'bad-input', text)

function readQuery(request: Request, { fields }: Route): Record<string, unknown> {
  // Without a prototype, so that no name is taken for a part of it.
  const given = Object.create(null) as Record<string, unknown>
  for (const [name, text] of new URL(request.url).searchParams) {
    if (Object.hasOwn(given, name)) throw bad(`The field '${name.slice(0, 60)}' is given twice.`)
    given[name] =
      Object.hasOwn(fields, name) && fields[name]?.kind === 'number' && /^\d+$/.test(text)
        ? Number(text)
        : text
  }
  return given
}

async function readBody(request: Request): Promise<Record<string, unknown>> {
  const text = await bodyText(request)
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    throw bad('The body is no JSON.')
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw bad('The body is no object.')
  return body as Record<string, unknown>
}

function checked(name: string, field: Field, value: unknown): Input[string] {
  const { kind, most, least = 0, choices } = field
  const fits = {
    text: () => isText(value, most),
    number: () =>
      Number.isInteger(value) && (value as number) >= least && (value as number) <= most!,
    flag: () => typeof value === 'boolean',
    texts: () =>
      Array.isArray(value) && value.length <= most! && value.every((one) => isText(one, undefined)),
  }[kind]()
  if (!fits || (choices !== undefined && !choices.includes(value as string)))
    throw bad(`The field '${name}' is not ${expected(field)}.`)
  return value as Input[string]
}

/** Text that a database can be asked for. */
export function isText(value: unknown, most: number = LONGEST_TEXT): value is string {
  return (
    typeof value === 'string' &&
    value.length <= most &&
    value.isWellFormed() &&
    !value.includes('\0')
  )
}

function expected({ kind, most = LONGEST_TEXT, least = 0, choices }: Field): string {
  if (choices !== undefined) return `one of ${choices.join(', ')}`
  const texts = {
    text: `text of at most ${most} characters`,
    number: `a whole number from ${least} to ${most}`,
    flag: 'true or false',
    texts: `a list of at most ${most} texts`,
  }
  return texts[kind]
}

/** The text of a field, if it was given. */
export function textOf({ input }: Pick<Call, 'input'>, name: string): string | undefined {
  const value = input[name]
  return typeof value === 'string' ? value : undefined
}

export function numberOf({ input }: Pick<Call, 'input'>, name: string): number | undefined {
  const value = input[name]
  return typeof value === 'number' ? value : undefined
}

/** Most routes work on one of the sources. */
export const sourceField: Field = {
  kind: 'text',
  text: 'Name of the app or the store.',
  required: true,
}

/** The source that is asked for, ready to be asked. Throws a problem. */
export async function sourceOf(call: Call): Promise<Source> {
  const name = textOf(call, 'source')
  const found = call.desk.sources.find((source) => source.name === name)
  if (found === undefined) throw problem(404, 'no-source', 'There is no source of this name.')
  await found.ready()
  return found
}

/** That part of its store. Throws a problem that says what is not there. */
export function partOf<Part>(part: Part | undefined, what: string): Part {
  if (part === undefined) throw problem(404, 'not-offered', `Its store does not offer ${what}.`)
  return part
}
