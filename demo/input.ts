/** The commands of the demo: read from a file, or its own. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { seededRandom } from '../scripts/seeded-random.ts'
import type { Registration } from './plan.ts'

/** A line that became no command, and why. */
export interface Malformed {
  readonly line: number
  readonly problem: string
}

export interface Input {
  readonly registrations: readonly Registration[]
  readonly malformed: readonly Malformed[]
}

const LONGEST_NAME = 100_000

/**
 * Reads commands as NDJSON, one object per line: `{"name": "...", "programme": "..."}`. `-` is
 * standard input. Without a path, the registrations that the demo makes itself.
 */
export async function readInput(path: string | undefined): Promise<Input> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const registrations: Registration[] = []
  const malformed: Malformed[] = []
  let line = 0
  for await (const bytes of path === undefined ? sampleLines() : linesOf(path)) {
    line += 1
    try {
      const text = decoder.decode(bytes)
      if (text.trim() !== '') registrations.push(parseRegistration(text, line))
    } catch (error) {
      malformed.push({ line, problem: error instanceof Error ? error.message : String(error) })
    }
  }
  return { registrations, malformed }
}

/** As bytes, so that what is no UTF-8 is noticed instead of replaced. */
async function* linesOf(path: string): AsyncGenerator<Buffer> {
  const input: Readable = path === '-' ? process.stdin : createReadStream(path)
  input.setEncoding('latin1') // one character for each byte
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }))
    yield Buffer.from(line, 'latin1')
}

function parseRegistration(text: string, line: number): Registration {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('expected a JSON object')
  const { name, programme } = value as { name?: unknown; programme?: unknown }
  return { line, name: checkText('name', name), programme: checkText('programme', programme) }
}

function checkText(field: string, value: unknown): string {
  if (typeof value !== 'string')
    throw new Error(`'${field}' is ${value === undefined ? 'missing' : 'no text'}`)
  if (!value.isWellFormed()) throw new Error(`'${field}' has half a surrogate pair`)
  if (value.length > LONGEST_NAME)
    throw new Error(`'${field}' has more than ${LONGEST_NAME} characters`)
  return value
}

/** How many commands the demo makes itself. */
const COUNT = 2000

const given = [
  'Anna',
  'Zoë',
  'José',
  'Siân',
  'Łukasz',
  'Þórdís',
  'Nguyễn',
  'Müge',
  'Çağla',
  'Ægir',
  'Bjørn',
  'Renée',
  'محمد',
  'ליאור',
  'Ольга',
  'Δημήτρης',
  '美咲',
  '지우',
  'अनन्या',
  'สมชาย',
  'Ọlábísí',
  'Ngũgĩ',
  "Ka'ahumanu",
  'J.',
  'X Æ A-12',
]
const family = [
  "O'Brien",
  'García Márquez',
  'van der Berg',
  'Šafářová',
  'Müller-Lüdenscheidt',
  'الخوارزمي',
  'בן־דוד',
  'Достоевский',
  'Παπαδόπουλος',
  '佐藤',
  '김',
  'शर्मा',
  'ใจดี',
  'D’Angelo',
  'Smith',
  'Smith',
  'Li',
  'Jr., "Bobby"',
  'Null',
  'Mac\\Leod',
]
const programmes = [
  'Law',
  'Medicine',
  'Mathematics',
  'History of Art',
  'Génie civil',
  '物理学',
  'علوم الحاسوب',
]

/** Each of these breaks some program somewhere. */
const awkward = [
  '',
  ' ',
  "Robert'); DROP TABLE students;--",
  '👩‍👩‍👧‍👦 Family',
  'é (composed)',
  'e\u0301 (combining)',
  'tab\there',
  'line\nbreak',
  '\u001b[31mred\u001b[0m',
  '\u001b]0;title\u0007',
  'nul\u0000inside',
  '\u202Eright to left override',
  'null',
  'undefined',
  '0',
  'true',
  '__proto__',
  '${7*7}',
  '%s%n',
  '<script>alert(1)</script>',
  '\uFEFFbyte order mark',
  'a'.repeat(10_000),
  '長'.repeat(5000),
  '"quoted"',
  'back\\slash',
  'comma, semicolon;',
  '𝒜𝓃𝓃𝒶',
  'I\u0307stanbul',
  'ß',
  'ﬁ ligature',
]

const broken = [
  '{"name": "cut off',
  '{"programme": "Law"}',
  '["Anna", "Law"]',
  '{"name": 42, "programme": "Law"}',
  'name=Anna',
  '{"name": "half a pair \\ud800", "programme": "Law"}',
]

/** With the names that life brings, and a few lines that are no command; the same in every run. */
function* sampleLines(): Generator<Uint8Array> {
  const random = seededRandom(20_260_701)
  const pick = (items: readonly string[]): string =>
    items[Math.floor(random() * items.length)] ?? ''
  for (let index = 0; index < COUNT; index += 1) {
    const odd = index % 40 === 7 ? awkward[Math.floor(index / 40) % awkward.length] : undefined
    const name = odd ?? `${pick(given)} ${pick(family)}`
    yield Buffer.from(JSON.stringify({ name, programme: pick(programmes) }))
    if (index % 300 === 150)
      yield Buffer.from(broken[Math.floor(index / 300) % broken.length] ?? '')
  }
}
