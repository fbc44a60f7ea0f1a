import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of the repository. */
export const root: string = resolve(fileURLToPath(new URL('../..', import.meta.url)))

/** One source file, as the checks of the house see it. */
export interface Source {
  /** Path from the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
  /**
   * The text with comments and the insides of strings blanked out, line by line as long as before.
   */
  readonly code: string
  readonly imports: readonly Import[]
}

export interface Import {
  readonly specifier: string
  /** Nothing of it is left after the types are erased. */
  readonly typeOnly: boolean
  /** Path from the root of the repository; undefined for packages and `node:` modules. */
  readonly target: string | undefined
}

// What can hold text that is no code: comments, and the three kinds of strings.
const notCode =
  /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g
const blank = (text: string): string => text.replaceAll(/[^\n]/g, ' ')
const withoutComments = (text: string): string =>
  text.replaceAll(notCode, (part) => (part.startsWith('/') ? blank(part) : part))
const onlyCode = (text: string): string =>
  text.replaceAll(notCode, (part) => {
    if (part.startsWith('/')) return blank(part)
    // The code inside a template stays, since it is code.
    if (part.startsWith('`'))
      return part.replaceAll(/\$\{[^}]*\}|[^\n]/g, (piece) =>
        piece.startsWith('${') ? piece : ' ',
      )
    return blank(part)
  })

const statements =
  /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[\w*$\s{},]*?\sfrom\s*)?(['"])([^'"\n]+)\2/g
const calls = /\bimport\s*\(\s*(['"])([^'"\n]+)\1/g

/** Every module that this text imports, re-exports or loads at run time. */
export function importsOf(path: string, text: string): Import[] {
  const code = withoutComments(text)
  const found: Import[] = []
  const add = (specifier: string, typeOnly: boolean): void => {
    const target = specifier.startsWith('.')
      ? join(dirname(path), specifier).replaceAll('\\', '/')
      : undefined
    found.push({ specifier, typeOnly, target })
  }
  for (const match of code.matchAll(statements)) add(match[3]!, match[1] !== undefined)
  for (const match of code.matchAll(calls)) add(match[2]!, false)
  return found
}

export function sourceOf(path: string, text: string): Source {
  return { path, text, code: onlyCode(text), imports: importsOf(path, text) }
}

/** All TypeScript files below a folder of the repository. */
export function sourcesIn(folder: string): Source[] {
  const files = readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
  return files
    .filter((file) => file.isFile() && file.name.endsWith('.ts'))
    .map((file) => relative(root, join(file.parentPath, file.name)).replaceAll('\\', '/'))
    .sort()
    .map((path) => sourceOf(path, readFileSync(join(root, path), 'utf8')))
}

/** `path:line: text` of every line that matches, so that a failing check says where to look. */
export function places(source: Source, pattern: RegExp, where: 'code' | 'text' = 'code'): string[] {
  const shown = source.text.split('\n')
  const searched = source[where].split('\n')
  return searched.flatMap((line, index) =>
    pattern.test(line) ? [`${source.path}:${index + 1}: ${shown[index]!.trim()}`] : [],
  )
}
