import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { root, run } from './package.ts'
import { toolsOf } from './tools.ts'

const docs = join(root, 'docs')
const tools = toolsOf('site', join(docs, 'site'))

/** Pages that the index names, in its order. */
function indexed(): readonly string[] {
  const text = readFileSync(join(docs, 'README.md'), 'utf8').split(/^## /m).slice(1).join('## ')
  const links = [...text.matchAll(/\]\((?<page>[^)#\s]+\.md)\)/g)]
  return [...new Set(links.map(({ groups }) => groups!['page']!))]
}

const htmlOf = (page: string): string =>
  page
    .replace(/(?:^|\/)README\.md$/, (found) => found.replace('README.md', 'index.html'))
    .replace(/\.md$/, '.html')

describe.skipIf(tools === undefined)('the site of the pages', () => {
  let folder = ''
  let built = { code: null as number | null, text: '' }
  const dist = (name: string): string => join(folder, 'docs/site/dist', name)

  // As a clone has it: the pages, and the package of the site among them.
  beforeAll(() => {
    const below = join(root, 'node_modules/.cache/site')
    mkdirSync(below, { recursive: true })
    folder = mkdtempSync(join(below, 'build-'))
    const own = new Set(['node_modules', 'pages', 'dist', 'cache', '.temp'])
    cpSync(docs, join(folder, 'docs'), {
      recursive: true,
      filter: (file) =>
        !file.startsWith(join(docs, 'site/')) || !file.split('/').some((name) => own.has(name)),
    })
    symlinkSync(join(tools ?? '', 'node_modules'), join(folder, 'docs/site/node_modules'))
    built = run(join(folder, 'docs/site'), process.execPath, [
      'node_modules/vitepress/bin/vitepress.js',
      'build',
    ])
  }, 600_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  // A dead link fails the build.
  test('is built, with every page of the index', () => {
    expect(built.code, built.text).toBe(0)
    expect(indexed().length).toBeGreaterThan(40)
    expect(indexed().filter((page) => !existsSync(dist(htmlOf(page))))).toEqual([])
  })

  test('has no link to a page that is missing', () => {
    const pages = globSync('**/*.html', { cwd: dist('') })
    expect(pages.length).toBeGreaterThan(60)
    const missing = pages.flatMap((page) => {
      const links = readFileSync(dist(page), 'utf8').matchAll(/ href="(?<to>\/[^"#?]*)/g)
      return [...links]
        .map(({ groups }) => groups!['to']!)
        .filter(
          (to) => ![to, `${to}.html`, `${to}index.html`].some((file) => existsSync(dist(file))),
        )
        .map((to) => `${page}: ${to}`)
    })
    expect(missing).toEqual([])
  })

  test('is searched without a service', () => {
    const [index] = globSync('assets/chunks/@localSearchIndex*.js', { cwd: dist('') })
    const text = readFileSync(dist(index ?? 'no index'), 'utf8')
    for (const page of ['upgrading', 'dead-letters', 'reference/app']) expect(text).toContain(page)
  })

  test('has its texts for programs, in the order of the index', () => {
    const index = readFileSync(dist('llms.txt'), 'utf8')
    const order = [...index.matchAll(/\]\(\/(?<page>[^)]*)\)/g)].map(
      ({ groups }) => groups!['page'],
    )
    expect(order.slice(0, 3)).toEqual(['the-outbox', 'start-sqlite', 'start-postgres-rabbitmq'])
    const full = readFileSync(dist('llms-full.txt'), 'utf8')
    expect(full).toContain('# Upgrading')
    expect(full.length).toBeGreaterThan(300_000)
  })
})
