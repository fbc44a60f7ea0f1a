import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './sources.ts'

const page = readFileSync(join(root, 'docs/guarantees.md'), 'utf8')
const rows = [
  ...page.matchAll(
    /^\| (?<promises>P\d[P\d ]*) \| \[(?<file>[^\]]+)\]\(\.\.\/(?<link>[^)]+)\) \| (?<says>.+) \|$/gm,
  ),
].map((match) => ({
  promises: match.groups!['promises']!.split(' '),
  file: match.groups!['file']!,
  link: match.groups!['link']!,
  says: match.groups!['says']!,
}))
const promises = [...page.matchAll(/^## (P\d+) /gm)].map((match) => match[1]!)

describe('docs/guarantees.md', () => {
  test('describes every promise', () => {
    expect(promises).toEqual(Array.from({ length: 14 }, (_, index) => `P${index + 1}`))
  })

  test('names a test for every promise', () => {
    expect(
      promises.filter((promise) => !rows.some((row) => row.promises.includes(promise))),
    ).toEqual([])
  })

  test.each(rows)('$promises.0: $file says “$says”', ({ file, link, says }) => {
    expect(link).toBe(file)
    expect(existsSync(join(root, file))).toBe(true)
    expect(readFileSync(join(root, file), 'utf8')).toContain(says)
  })
})

describe('the pages', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    'docs/architecture.md',
    'docs/guarantees.md',
    'docs/glossary.md',
    'docs/errors.md',
  ]
  test.each([...pages, 'SECURITY.md', 'CHANGELOG.md'])(
    '%s promises no exactly-once delivery',
    (name) => {
      expect(readFileSync(join(root, name), 'utf8')).not.toMatch(
        /exactly[- ]once (?:delivery|messag|semantic|process)/i,
      )
    },
  )
})
