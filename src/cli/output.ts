import { oneLine, safeLines } from '../lib/one-line.ts'
import { redactor, safeJson, secretsIn } from './safe.ts'

export interface OutputStream {
  write(text: string, done?: (error?: Error | null) => void): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** The only way out: whatever is written is one safe line after the other, without secrets. */
export interface Output {
  /** Results, to standard output. */
  line(text?: string): void
  json(value: unknown, indent?: number): void
  /** One JSON array, written item by item: nothing of it has to be kept. */
  jsonArray(): { readonly item: (value: unknown) => void; readonly end: () => void }
  /** Progress and trouble, to standard error. */
  note(text: string): void
  /** A log line, as JSON, to standard error. */
  log(fields: object): void
  /** On a terminal: one line that is replaced by whatever comes next. */
  progress(text: string): void
  /** Text with line breaks of our own: help and SQL. */
  page(text: string): void
  clear(): void
  /** From now on hidden everywhere. */
  hide(value: string, name?: string): void
  /** What somebody else prints: a logger of a transport, the configuration. */
  foreign(text: string): string
  readonly width: number
  /** Resolves when everything has left the process. */
  flush(): Promise<void>
}

export function createOutput(
  stdout: OutputStream,
  stderr: OutputStream,
  env: Readonly<Record<string, string | undefined>>,
): Output {
  const secrets = new Set<string>()
  const hide = (value: string, name?: string): void => {
    for (const secret of secretsIn(value, name)) secrets.add(secret)
  }
  for (const [name, value] of Object.entries(env)) if (value !== undefined) hide(value, name)
  const redact = redactor(secrets)
  // Secrets first: escaping could hide one from the search.
  const safe = (text: string): string => oneLine(redact(text))
  let moving = false
  const print = (stream: OutputStream, text: string): void => {
    if (moving) stderr.write('\r\u001b[K')
    moving = false
    stream.write(`${text}\n`)
  }
  return {
    line: (text = '') => print(stdout, safe(text)),
    json: (value, indent) => print(stdout, safeJson(value, redact, indent)),
    jsonArray() {
      let before = '['
      return {
        item(value) {
          print(stdout, `${before}${safeJson(value, redact)}`)
          before = ','
        },
        end: () => print(stdout, before === '[' ? '[]' : ']'),
      }
    },
    note: (text) => print(stderr, safe(text)),
    log: (fields) => print(stderr, safeJson(fields, redact)),
    progress(text) {
      if (stderr.isTTY !== true) return
      moving = true
      stderr.write(`\r\u001b[K${safe(text)}`)
    },
    page(text) {
      for (const line of text.split('\n')) stdout.write(`${safe(line)}\n`)
    },
    clear: () => void (stdout.isTTY === true && stdout.write('\u001b[2J\u001b[H')),
    hide,
    foreign: (text) => safeLines(redact(text)),
    width: stdout.columns ?? 120,
    flush: async () => {
      await Promise.all(
        [stdout, stderr].map(
          (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
        ),
      )
    },
  }
}

/**
 * Columns padded to their widest cell. Cells are made safe first, so that their width is what is
 * seen.
 */
export function table(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string[] {
  const cells = rows.map((row) => row.map(oneLine))
  const widths = (cells[0] ?? []).map((_, column) =>
    Math.max(...cells.map((row) => (row[column] ?? '').length)),
  )
  return cells.map((row) =>
    row
      .map((cell, column) =>
        right.includes(column)
          ? cell.padStart(widths[column] ?? 0)
          : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
}

/** `950 ms`, `12 s`, `3 min`, `5.1 h`, `2.0 d`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  if (ms < 172_800_000) return `${(ms / 3_600_000).toFixed(1)} h`
  return `${(ms / 86_400_000).toFixed(1)} d`
}

export function isoTime(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString() : '?'
}

/** `1 fault`, `2 faults`. */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
