import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { root } from './sources.ts'

interface Option {
  readonly name: string
  readonly optional: boolean
  readonly doc: string
}

// A process of its own starts in a second; here all adapters would be transformed first.
const { pages, options, refused } = JSON.parse(
  execFileSync(process.execPath, ['scripts/reference.ts', '--json'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 24,
  }),
) as {
  readonly pages: readonly (readonly [path: string, text: string])[]
  readonly options: readonly Option[]
  readonly refused: readonly (readonly [name: string, text: string | null])[]
}

const answers = new Map(refused)
const named = (wanted: (option: Option) => boolean): string[] => [
  ...new Set(options.filter(wanted).map(({ name }) => name)),
]

describe('the pages of the reference', () => {
  test('are what the sources say (after a change: npm run reference)', () => {
    const there = globSync('docs/reference/*', { cwd: root })
    expect(there.toSorted()).toEqual(pages.map(([path]) => path).toSorted())
    for (const [path, text] of pages)
      expect(readFileSync(join(root, path), 'utf8') === text, path).toBe(true)
  })
})

test('no page of the reference answers for one option with what another one lacks', () => {
  const answers = refused.flatMap(([name, text]) =>
    /has no owner|limits nothing|goes to its subscribers/.test(text ?? '') &&
    name !== 'EventOptions.to'
      ? [name]
      : [],
  )
  expect(answers).toEqual([])
  expect(pages.filter(([, text]) => /```ts \S/.test(text)).map(([path]) => path)).toEqual([])
})

describe('every option', () => {
  test('has a docstring', () => {
    expect(options.length).toBeGreaterThan(200)
    expect(named(({ doc }) => doc === '')).toEqual([])
  })

  test('says its default unless it is required', () => {
    expect(named(({ optional, doc }) => optional && !/\bdefault\b/i.test(doc))).toEqual([])
  })

  test('refuses what it cannot take, with an error that names it', () => {
    const takesAll = ({ name, doc }: Option): boolean =>
      answers.get(name) === null && !doc.startsWith('For tests.')
    expect(named(takesAll)).toEqual([])
  })

  // What users never fill in by hand, and what may be anything.
  const notAsked = ['PublishOptions', 'RehearsalOptions', 'SaveOptions', 'UnitOptions']

  test('is asked, but for a few', () => {
    const silent = named(({ name }) => !answers.has(name)).map((name) => name.split('.')[0] ?? '')
    expect(new Set(silent)).toEqual(new Set(notAsked))
  })

  test('that says its limits in figures says those that are checked', () => {
    const figures = (text: string): string | undefined =>
      /\bfrom [\d,]+ to [\d,]+(?=\.| |$)(?! [KMG]iB)/i
        .exec(text)?.[0]
        .replaceAll(',', '')
        .toLowerCase()
    const wrong = named(({ name, doc }) => {
      const said = figures(doc)
      const checked = figures(answers.get(name) ?? '')
      return said !== undefined && checked !== undefined && said !== checked
    })
    expect(wrong).toEqual([])
  })
})
