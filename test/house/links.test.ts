import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './sources.ts'

const pages = globSync(['*.md', 'docs/**/*.md', 'examples/**/*.md'], {
  cwd: root,
  exclude: (path) => path.includes('node_modules') || path.startsWith('docs/site'),
}).toSorted()

/** Links and headings stand outside of blocks of code, and links outside of code in a line. */
const textOf = (page: string): string =>
  readFileSync(join(root, page), 'utf8').replaceAll(/^( *)(```+)[\s\S]*?^\1\2$/gm, '')

/** The anchor that a heading gets, as GitHub and VitePress make it. */
const anchorOf = (heading: string): string =>
  heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-')

const known = new Map<string, ReadonlySet<string>>()

function anchorsOf(page: string): ReadonlySet<string> {
  const before = known.get(page)
  if (before !== undefined) return before
  const counts = new Map<string, number>()
  const anchors = [...textOf(page).matchAll(/^#{1,6} (.*)$/gm)].map(([, heading]) => {
    const anchor = anchorOf(heading!)
    const times = counts.get(anchor) ?? 0
    counts.set(anchor, times + 1)
    return times === 0 ? anchor : `${anchor}-${times}`
  })
  const found = new Set(anchors)
  known.set(page, found)
  return found
}

function linksOf(text: string): string[] {
  const plain = text.replaceAll(/`[^`]*`/g, '')
  return [...plain.matchAll(/\]\(\s*([^)\s]+)\s*\)/g)].map(([, link]) => link!)
}

/** What is wrong with a link of this page, or undefined. */
function wrong(page: string, link: string): string | undefined {
  if (/^(?:https?|mailto):/.test(link)) return undefined
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? page : relative(root, resolve(root, dirname(page), path))
  if (!existsSync(join(root, target))) return `${link}: there is no ${target}`
  if (anchor === undefined || !target.endsWith('.md')) return undefined
  return anchorsOf(target).has(anchor) ? undefined : `${link}: ${target} has no such heading`
}

describe('links', () => {
  test.each(pages)('of %s lead somewhere', (page) => {
    expect(linksOf(textOf(page)).flatMap((link) => wrong(page, link) ?? [])).toEqual([])
  })

  test.each([
    ['a page that is not there', 'nowhere.md'],
    ['a heading that is not there', 'guarantees.md#nothing'],
    ['a heading of the same page that is not there', '#nothing'],
  ])('to %s would be found', (_, link) => {
    expect(wrong('docs/README.md', link)).toContain(link)
  })

  test('of the index name every page', () => {
    const index = linksOf(textOf('docs/README.md')).map((link) => link.split('#')[0]!)
    const own = pages.filter((page) => /^docs\/[^/]+\.md$/.test(page) && page !== 'docs/README.md')
    expect(own.filter((page) => !index.includes(page.replace('docs/', '')))).toEqual([])
  })
})
