import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { errorCodes } from '../../src/core/errors/errors.ts'
import { root, sourcesIn } from './sources.ts'

const page = readFileSync(join(root, 'docs/errors.md'), 'utf8')
const parts = ['Means', 'When', 'Do', 'Retry'] as const

/** The sections of the page: the code in the heading, and the text up to the next heading. */
function sections(text: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const part of text.split(/^(?=#{1,6} )/m)) {
    const code = /^### (\S+)/.exec(part)?.[1]
    if (code === undefined) continue
    expect(found.has(code), `${code} has two sections`).toBe(false)
    found.set(code, part)
  }
  return found
}

/**
 * The parts that a section lacks: each is a bold word at the beginning of a line, with a text
 * behind it.
 */
function missing(section: string): string[] {
  return parts.filter((part) => !new RegExp(`^\\*\\*${part}:\\*\\* \\S.{4,}`, 'm').test(section))
}

describe('docs/errors.md', () => {
  const described = sections(page)

  test('describes every code, and no code that does not exist', () => {
    expect([...described.keys()].sort()).toEqual([...errorCodes].sort())
  })

  test.each([...errorCodes])(
    'says what %s means, when it comes, what to do and whether to retry',
    (code) => {
      expect(missing(described.get(code) ?? '')).toEqual([])
    },
  )

  test('speaks of no code that does not exist', () => {
    const named = page.match(/\bMERSAL_[A-Z_]+\b/g) ?? []
    expect(named.filter((code) => !(errorCodes as readonly string[]).includes(code))).toEqual([])
  })

  test('would not pass with a section that leaves something out', () => {
    expect(
      missing('### MERSAL_X\n\n**Means:** it is broken.\n**When:** always.\n**Retry:** useless.'),
    ).toEqual(['Do'])
  })
})

describe('the codes', () => {
  test('are each used somewhere in the sources', () => {
    const text = sourcesIn('src')
      .filter(({ path }) => path !== 'src/core/errors/errors.ts')
      .map((source) => source.text)
      .join('\n')
    expect(errorCodes.filter((code) => !text.includes(`'${code}'`))).toEqual([])
  })
})
