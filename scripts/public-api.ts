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

/**
 * What a declaration file declares, and what it takes from other files, by the name that it has
 * there.
 */
function declaredIn(file: string): Map<string, Exported> {
  if (!existsSync(file)) throw new Error(`no declarations at ${file}`)
  const found = new Map<string, Exported>()
  for (const text of statements(readFileSync(file, 'utf8'))) {
    const name = declaration.exec(text)?.[1]
    // Overloads of a function are several statements.
    if (name !== undefined)
      found.set(name, { file, text: found.has(name) ? `${found.get(name)!.text}\n${text}` : text })
    const imported = names.exec(text)
    if (imported?.[1] === 'import')
      for (const { from, as } of listed(imported[2]!))
        found.set(as, bring(file, imported[3]!, from))
  }
  return found
}

function bring(file: string, specifier: string, from: string): Exported {
  if (!specifier.startsWith('.')) return { file, text: `import { ${from} } from '${specifier}'` }
  const target = exportsOf(resolved(file, specifier)).get(from)
  if (target === undefined)
    throw new Error(`${file} takes ${from} from ${specifier}, which does not export it`)
  return target
}

/** Every name that a declaration file exports, followed to the place where it is declared. */
function exportsOf(file: string): Map<string, Exported> {
  const declared = declaredIn(file)
  const found = new Map(
    [...declared].filter(
      ([, exported]) => exported.file === file && exported.text.startsWith('export'),
    ),
  )
  for (const text of statements(readFileSync(file, 'utf8'))) {
    const all = star.exec(text)?.[1]
    if (all !== undefined)
      for (const [name, exported] of exportsOf(resolved(file, all))) found.set(name, exported)
    const given = names.exec(text)
    if (given?.[1] !== 'export') continue
    for (const { from, as } of listed(given[2]!)) {
      const exported = given[3] === undefined ? declared.get(from) : bring(file, given[3], from)
      if (exported === undefined)
        throw new Error(`${file} exports ${from}, which is not declared in it`)
      found.set(as, exported)
    }
  }
  return found
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
    for (const [name, exported] of declaredIn(file)) {
      if (!words.has(name) || seen.has(exported.file + exported.text)) continue
      seen.add(exported.file + exported.text)
      found.set(`${name} of ${basename(exported.file)}`, exported)
      visit(exported)
    }
  }
  for (const exported of shown) visit(exported)
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
