/** What every page has, so that a stranger knows where it leads and how far it can be trusted. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './sources.ts'

const read = (page: string): string => readFileSync(join(root, page), 'utf8')
const pages = globSync('docs/{.,reference}/*.md', { cwd: root }).toSorted()

/** What stands behind the title, without what only makers of the page read. */
function openingOf(text: string): string {
  const [, body = ''] = text.replaceAll(/<!--[\s\S]*?-->/g, '').split(/^# .*$/m)
  return body.trim()
}

/** Neither code, table, list, picture nor the next heading. */
const isSentence = (opening: string): boolean => /^(?!```)[`"*[]*[A-Za-z]/.test(opening)

test('each page says behind its title, in a sentence, what it is about', () => {
  expect(pages.length).toBeGreaterThan(75)
  expect(pages.filter((page) => !isSentence(openingOf(read(page))))).toEqual([])
  expect(['```ts', '| a |', '## Start', '- one', '![a](b)', '1. one'].filter(isSentence)).toEqual(
    [],
  )
})

test('each page is in one of the two indexes', () => {
  const linked = ['docs/README.md', 'docs/reference/README.md'].flatMap((index) =>
    [...read(index).matchAll(/\]\((?<page>[^)#\s]+\.md)[^)]*\)/g)].map(({ groups }) =>
      join(index, '..', groups!['page']!),
    ),
  )
  expect(pages.filter((page) => !linked.includes(page) && page !== 'docs/README.md')).toEqual([])
})

test('a page that promises says what it does not promise', () => {
  const promising = pages.filter((page) =>
    /^##+ (?:What (?:holds|is promised|it promises))$/m.test(read(page)),
  )
  expect(promising.length).toBeGreaterThan(5)
  expect(promising.filter((page) => !/\bnot promised\b/i.test(read(page)))).toEqual([])
})

test('no line of a page begins with a tag: the site would read it as HTML, in code too', () => {
  const tagged = globSync('docs/**/*.md', { cwd: root, exclude: ['docs/site/**'] }).flatMap(
    (page) =>
      read(page)
        .replaceAll(/^( *)```[\s\S]*?^\1```/gm, '')
        .split('\n')
        .filter((line) => /^\s*<\/?[a-z]/i.test(line))
        .map((line) => `${page}: ${line}`),
  )
  expect(tagged).toEqual([])
})
