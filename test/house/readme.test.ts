import { execFileSync, spawnSync } from 'node:child_process'
import {
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { examplesOf, onSources, sourcePaths } from './examples.ts'
import { root } from './sources.ts'

// The reference is made from sources that are compiled anyway.
const pages = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md'], {
  cwd: root,
  exclude: (path) => path.includes('node_modules') || /^docs\/(?:reference|site)/.test(path),
}).toSorted((a, b) => Number(b === 'README.md') - Number(a === 'README.md') || (a < b ? -1 : 1))
const examples = pages.flatMap(examplesOf)
const first = examples[0]!

/** What an example may use without declaring it: the names of the first example of the README. */
const given = readFileSync(join(root, 'test/house/readme-context.ts.txt'), 'utf8')

const TENANTS = 'export const tenants: readonly { name: string; url: string }[] = []'

let folder: string
beforeAll(() => {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  folder = mkdtempSync(join(root, '.tmp/readme-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Compiles the texts as modules of a strict project; returns what the compiler says. */
function compile(files: Readonly<Record<string, string>>): string {
  const project = mkdtempSync(join(folder, 'project-'))
  // What the pages take from the folder of the reader: the client that Prisma makes, and a list.
  symlinkSync(join(root, 'test/postgres/prisma/generated'), join(project, 'generated'))
  writeFileSync(join(project, 'tenants.ts'), TENANTS)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text)
  const paths = Object.fromEntries(
    Object.entries(sourcePaths(folder)).map(([name, [path]]) => [name, [`../${path!}`]]),
  )
  const options = {
    noEmit: true,
    isolatedDeclarations: false,
    declaration: false,
    rewriteRelativeImportExtensions: false,
    // As programs of Nest have it.
    experimentalDecorators: true,
    paths,
  }
  const config = {
    extends: relative(project, join(root, 'tsconfig.json')),
    compilerOptions: options,
    include: ['*.ts'],
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config))
  const { stdout, status } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', project], {
    encoding: 'utf8',
    cwd: project,
  })
  return status === 0 ? '' : stdout || 'the compiler failed without a word'
}

describe('the examples of the pages', () => {
  test('compile, each as it stands there', () => {
    expect(examples.length).toBeGreaterThan(5)
    const files: Record<string, string> = {}
    for (const { page, line, code } of examples) {
      files[`${page.replaceAll(/[^a-zA-Z]/g, '-')}-${line}.ts`] = isProgram(code)
        ? code
        : withContext(code)
    }
    expect(compile(files)).toBe('')
  })

  test('would not pass with a body that does not fit its type', () => {
    const broken = first.code.replace(/studentId: [^,}]+/, 'studentId: Symbol()')
    expect(broken).not.toBe(first.code)
    expect(compile({ 'broken.ts': broken })).toContain('error TS')
  })
})

/** Whoever imports the bus or exports a configuration means a program of its own. */
const isProgram = (code: string): boolean =>
  /^import \{[^}]*\b(?:Mersal|createTenants|rehearse)\b/m.test(code) ||
  /^export default /m.test(code)

/**
 * Imports first, then the names that the page takes as given, then the block. Its own names win.
 */
function withContext(code: string): string {
  return `${given}\nexport async function example(): Promise<void> {\n${code.replaceAll(/^import .*$/gm, '')}\n}\n${(code.match(/^import .*$/gm) ?? []).join('\n')}\n`
}

describe('the first example of the README', () => {
  test('runs, and prints what the page says', () => {
    const page = readFileSync(join(root, 'README.md'), 'utf8')
    const promised = /^```text output\n([\s\S]*?)^```$/m.exec(page)?.[1]
    expect(promised).toBeDefined()
    writeFileSync(join(folder, 'first.mts'), onSources(first.code, folder))
    const printed = execFileSync(process.execPath, ['first.mts'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect(printed).toBe(promised)
  })
})
