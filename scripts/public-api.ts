import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The public API as text: for every sub-path of the package, every exported name with its
 * declaration, read from the declarations that the compiler emits. Comments are left out, so that
 * the text changes only when the API does.
 */

export const root: string = resolve(fileURLToPath(new URL('..', import.meta.url)))
export const goldenFile: string = join(root, 'test/golden/api.txt')

interface Exported {
  readonly file: string
  /** The declaration, or the statement that brings the name from another package. */
  readonly text: string
}

/** The declarations of one file, cut into statements: a new one begins at the left margin. */
function statements(text: string): string[] {
  const plain = text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
  const starts = /^(?=(?:export|import|declare|interface|type|const|function|class|abstract)\b)/m
  return plain
    .split(starts)
    .map((part) =>
      part
        .replaceAll(/[ \t]+$/gm, '')
        .replaceAll(/\n\s*\n/g, '\n')
        .trim(),
    )
    .filter((part) => part !== '')
}

const declaration =
  /^(?:export\s+)?(?:declare\s+)?(?:abstract\s+)?(?:interface|type|const|let|function|class)\s+([\w$]+)/
const names = /^(export|import)\s+(?:type\s+)?\{([\s\S]*?)\}(?:\s*from\s*['"]([^'"]+)['"])?/
const star = /^export\s+\*\s+from\s*['"]([^'"]+)['"]/

function listed(text: string): { readonly from: string; readonly as: string }[] {
  return text.split(',').flatMap((part) => {
    const [from, as] = part
      .replace(/^\s*type\s/, '')
      .trim()
      .split(/\s+as\s+/)
    return from === undefined || from === '' ? [] : [{ from, as: as ?? from }]
  })
}

const resolved = (file: string, specifier: string): string =>
  join(dirname(file), specifier.replace(/\.[jt]s$/, '.d.ts'))

/** One declaration file, cut up. Files are read once: they import each other in many ways. */
interface Page {
  readonly statements: readonly string[]
  /** The texts of what it declares. Overloads of a function are several statements. */
  readonly declared: ReadonlyMap<string, string>
  readonly imported: ReadonlyMap<string, { readonly from: string; readonly specifier: string }>
}

const pages = new Map<string, Page>()

function pageAt(file: string): Page {
  const known = pages.get(file)
  if (known !== undefined) return known
  if (!existsSync(file)) throw new Error(`no declarations at ${file}`)
  const parts = statements(readFileSync(file, 'utf8'))
  const declared = new Map<string, string>()
  const imported = new Map<string, { readonly from: string; readonly specifier: string }>()
  for (const text of parts) {
    const name = declaration.exec(text)?.[1]
    const before = name === undefined ? undefined : declared.get(name)
    if (name !== undefined) declared.set(name, before === undefined ? text : `${before}\n${text}`)
    const given = names.exec(text)
    if (given?.[1] !== 'import') continue
    for (const { from, as } of listed(given[2]!)) imported.set(as, { from, specifier: given[3]! })
  }
  const page = { statements: parts, declared, imported }
  pages.set(file, page)
  return page
}

/** What a name stands for inside a file: a declaration of its own, or one of another file. */
function meaning(file: string, name: string): Exported | undefined {
  const { declared, imported } = pageAt(file)
  const text = declared.get(name)
  if (text !== undefined) return { file, text }
  const source = imported.get(name)
  return source === undefined ? undefined : bring(file, source.specifier, source.from)
}

function bring(file: string, specifier: string, from: string): Exported {
  if (!specifier.startsWith('.')) return { file, text: `import { ${from} } from '${specifier}'` }
  const target = exported(resolved(file, specifier), from)
  if (target === undefined)
    throw new Error(`${file} takes ${from} from ${specifier}, which does not export it`)
  return target
}

/** What a file exports under this name, followed to the place where it is declared. */
function exported(file: string, name: string): Exported | undefined {
  const page = pageAt(file)
  const text = page.declared.get(name)
  if (text?.startsWith('export') === true) return { file, text }
  for (const statement of page.statements) {
    const given = names.exec(statement)
    if (given?.[1] === 'export') {
      const found = listed(given[2]!).find(({ as }) => as === name)
      if (found === undefined) continue
      return given[3] === undefined ? meaning(file, found.from) : bring(file, given[3], found.from)
    }
    const all = star.exec(statement)?.[1]
    const behind = all === undefined ? undefined : exported(resolved(file, all), name)
    if (behind !== undefined) return behind
  }
  return undefined
}

function exportedNames(file: string): readonly string[] {
  const { declared, statements: parts } = pageAt(file)
  const own = [...declared].filter(([, text]) => text.startsWith('export')).map(([name]) => name)
  const others = parts.flatMap((text) => {
    const all = star.exec(text)?.[1]
    if (all !== undefined) return exportedNames(resolved(file, all))
    const given = names.exec(text)
    return given?.[1] === 'export' ? listed(given[2]!).map(({ as }) => as) : []
  })
  return [...new Set([...own, ...others])]
}

/** Every name that a declaration file exports, followed to the place where it is declared. */
function exportsOf(file: string): Map<string, Exported> {
  return new Map(
    exportedNames(file).map((name) => {
      const found = exported(file, name)
      if (found === undefined)
        throw new Error(`${file} exports ${name}, which is not declared in it`)
      return [name, found]
    }),
  )
}

/**
 * Declarations that the given ones refer to and that no page has shown yet; changing them changes
 * the API all the same.
 */
function hiddenBehind(shown: readonly Exported[], seen: Set<string>): Map<string, Exported> {
  for (const { file, text } of shown) seen.add(file + text)
  const found = new Map<string, Exported>()
  const visit = ({ file, text }: Exported): void => {
    const words = new Set(text.match(/[A-Za-z_$][\w$]*/g) ?? [])
    const { declared, imported } = pageAt(file)
    for (const name of new Set([...declared.keys(), ...imported.keys()])) {
      const behind = words.has(name) ? meaning(file, name) : undefined
      if (behind === undefined || seen.has(behind.file + behind.text)) continue
      seen.add(behind.file + behind.text)
      found.set(`${name} of ${basename(behind.file)}`, behind)
      visit(behind)
    }
  }
  for (const each of shown) visit(each)
  return found
}

const byName = <Value>(entries: Iterable<[string, Value]>): [string, Value][] =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : 1))

function pageOf(path: string, file: string, seen: Set<string>): string {
  const shown = exportsOf(file)
  const listedNames = byName(shown).map(([name, { text }]) => {
    const plain = text.replaceAll(/^export (?:declare )?/gm, '')
    return declaration.exec(text)?.[1] === name ? plain : `${name} = ${plain}`
  })
  const hidden = byName(hiddenBehind([...shown.values()], seen)).map(([, { text }]) =>
    text.replaceAll(/^(?:export )?(?:declare )?/gm, ''),
  )
  const behind =
    hidden.length === 0
      ? []
      : [`--- without a public name, behind mersal${path.slice(1)}`, ...hidden]
  return [`=== mersal${path.slice(1)}`, ...listedNames, ...behind].join('\n\n')
}

/** Sub-paths of the package that have declarations: `.` → `index.d.ts`. */
export function entries(): Map<string, string> {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, string | { types: string; default: string }>
  }
  const typed = Object.entries(exports).filter(
    (entry): entry is [string, { types: string; default: string }] => typeof entry[1] !== 'string',
  )
  return new Map(typed.map(([path, { types }]) => [path, types.replace('./dist/', '')]))
}

/** Has the compiler emit the declarations, and returns the API as text. */
export function publicApi(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-api-'))
  try {
    execFileSync(
      join(root, 'node_modules/.bin/tsc'),
      ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', folder],
      {
        cwd: root,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    const seen = new Set<string>()
    const pages = [...entries()].map(([path, file]) => pageOf(path, join(folder, file), seen))
    return `${pages.join('\n\n')}\n`
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
