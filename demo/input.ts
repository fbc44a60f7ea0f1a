import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
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
 * standard input.
 */
export async function readInput(path: string): Promise<Input> {
  const stream: Readable = path === '-' ? process.stdin : createReadStream(path)
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const registrations: Registration[] = []
  const malformed: Malformed[] = []
  let line = 0
  // As latin1 every byte is one character, so that bytes which are no UTF-8 are noticed instead of
  // replaced.
  stream.setEncoding('latin1')
  for await (const raw of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
    line += 1
    if (raw.trim() === '') continue
    try {
      registrations.push(parseRegistration(decoder.decode(Buffer.from(raw, 'latin1')), line))
    } catch (error) {
      malformed.push({ line, problem: error instanceof Error ? error.message : String(error) })
    }
  }
  return { registrations, malformed }
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
