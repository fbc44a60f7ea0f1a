import { readFileSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../public-api.ts'

export interface LogLine {
  readonly level: string
  /** Of the folder below `src`, such as `app/receive`. */
  readonly place: string
  /** What changes from line to line is shown as `…`. */
  readonly text: string
}

const call = /\blogger(?:\.(?<level>debug|info|warn|error)|\[(?<chosen>[\w.#]+)\])\(/g

/** The arguments of a call, cut at the commas that stand in no bracket and in no text. */
function argumentsOf(code: string, from: number): string[] {
  const found = ['']
  let depth = 0
  let quote: string | undefined
  for (let at = from; at < code.length; at++) {
    const letter = code[at]!
    if (quote !== undefined) {
      if (letter === quote && code[at - 1] !== '\\') quote = undefined
    } else if ('\'`"'.includes(letter)) quote = letter
    else if ('([{'.includes(letter)) depth++
    else if (')]}'.includes(letter) && depth-- === 0) return found.map((text) => text.trim())
    if (letter === ',' && depth === 0 && quote === undefined) found.push('')
    else found[found.length - 1] += letter
  }
  return found
}

/** The text itself, or what a constant of the file says. Otherwise nobody can tell from here. */
function textOf(expression: string, code: string): string | undefined {
  const [, literal] = /^(?:'((?:\\.|[^'\\])*)'|"(?:\\.|[^"\\])*")$/.exec(expression) ?? []
  if (literal !== undefined) return literal.replaceAll("\\'", "'")
  if (expression.startsWith('"')) return expression.slice(1, -1)
  if (expression.startsWith('`')) return expression.slice(1, -1).replaceAll(/\$\{[^}]*\}/g, '…')
  if (!/^[A-Z_]+$/.test(expression)) return undefined
  const [, constant] =
    new RegExp(`\\bconst ${expression} =\\s*((?:'[^']*'|"[^"]*")(?:\\s*\\+\\s*'[^']*')*)`).exec(
      code,
    ) ?? []
  return constant?.replaceAll(/['"](?:\s*\+\s*['"])?/g, '')
}

/** A text that is put together from others says nothing here. */
const saysSomething = /[a-z]{3}/

/**
 * The lines of the sources that a program with the default logger prints, or asks for with info.
 */
export function logLines(): LogLine[] {
  const lines = globSync('src/**/*.ts', { cwd: root }).flatMap((path) => {
    const code = readFileSync(join(root, path), 'utf8')
    return [...code.matchAll(call)].flatMap(({ 0: match, index, groups }) => {
      const [, text] = argumentsOf(code, index + match.length)
      const shown = text === undefined ? undefined : textOf(text.replace(/,$/, ''), code)
      const level = groups?.['level'] ?? 'warn or error'
      if (shown === undefined || level === 'debug' || !saysSomething.test(shown)) return []
      return [
        { level, text: shown, place: path.split('/').slice(1, 3).join('/').replace(/\.ts$/, '') },
      ]
    })
  })
  const order = (line: LogLine): string => `${line.level} ${line.place} ${line.text}`
  return lines.toSorted((a, b) => (order(a) < order(b) ? -1 : 1))
}
