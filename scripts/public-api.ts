import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
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

const declaration = /^(?:export\s+)?(?:declare\s+)?(?:abstract\s+)?(?:interface|type|const|let|function|class)\s+([\w$]+)/
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

const resolved = (file: string, specifier: string): string => join(dirname(file), specifier.replace(/\.[jt]s$/, '.d.ts'))

/** Every name that a declaration file exports, followed to the place where it is declared. */
function exportsOf(file: string): Map<string, Exported> {
  if (!existsSync(file)) throw new Error(`no declarations at ${file}`)
  const found = new Map<string, Exported>()
  const local = new Map<string, Exported>()
  const bring = (specifier: string, from: string): Exported => {
    if (!specifier.startsWith('.')) return { file, text: `import { ${from} } from '${specifier}'` }
    const target = exportsOf(resolved(file, specifier)).get(from)
    if (target === undefined) throw new Error(`${file} takes ${from} from ${specifier}, which does not export it`)
    return target
  }
  const parts = statements(readFileSync(file, 'utf8'))
  for (const text of parts) {
    const name = declaration.exec(text)?.[1]
    if (name !== undefined) {
      const before = local.get(name)
      local.set(name, { file, text: before === undefined ? text : `${before.text}\n${text}` })
      if (text.startsWith('export')) found.set(name, local.get(name)!)
    }
    const imported = names.exec(text)
    if (imported?.[1] === 'import') for (const { from, as } of listed(imported[2]!)) local.set(as, bring(imported[3]!, from))
  }
  for (const text of parts) {
    const all = star.exec(text)?.[1]
    if (all !== undefined) for (const [name, exported] of exportsOf(resolved(file, all))) found.set(name, exported)
    const given = names.exec(text)
    if (given?.[1] !== 'export') continue
    for (const { from, as } of listed(given[2]!)) {
      const exported = given[3] === undefined ? local.get(from) : bring(given[3], from)
      if (exported === undefined) throw new Error(`${file} exports ${from}, which is not declared in it`)
      found.set(as, exported)
    }
  }
  return found
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
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--emitDeclarationOnly', '--outDir', folder], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const pages = [...entries()].map(([path, file]) => {
      const found = [...exportsOf(join(folder, file))].sort(([a], [b]) => (a < b ? -1 : 1))
      const lines = found.map(([name, { text }]) => {
        const shown = text.replaceAll(/^export (?:declare )?/gm, '')
        return declaration.exec(text)?.[1] === name ? shown : `${name} = ${shown}`
      })
      return [`=== mersal${path.slice(1)}`, ...lines].join('\n\n')
    })
    return `${pages.join('\n\n')}\n`
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
