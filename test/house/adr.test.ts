import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const folder = join(import.meta.dirname, '../../docs/adr')
const names = readdirSync(folder).filter((name) => /^\d{4}-.*\.md$/.test(name))
const records = names.map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }))

/** What keeps a record from having the one form, or undefined. */
function wrongForm({
  name,
  text,
}: {
  readonly name: string
  readonly text: string
}): string | undefined {
  const [title = '', , date = ''] = text.split('\n')
  if (!title.startsWith(`# ${Number(name.slice(0, 4))}. `)) return `${name}: the title`
  if (!/^Date: \d{4}-\d\d-\d\d\. Status: /.test(date)) return `${name}: date and status`
  return /^## Decision$/m.test(text) ? undefined : `${name}: no decision`
}

describe('the records of decisions', () => {
  test('have one form', () => {
    expect(records.length).toBeGreaterThan(0)
    expect(records.map(wrongForm).filter((wrong) => wrong !== undefined)).toEqual([])
    expect(wrongForm({ name: '0001-x.md', text: '# 1. X\n\nDate: 2026-01-01. Status: a.\n' })).toBe(
      '0001-x.md: no decision',
    )
  })

  test('have a number each', () => {
    const numbers = names.map((name) => name.slice(0, 4))
    expect(numbers.filter((number, index) => numbers.indexOf(number) !== index)).toEqual([])
  })

  test('stand in the index with their titles, each once', () => {
    const index = readFileSync(join(folder, 'README.md'), 'utf8').replaceAll(/\s+/g, ' ')
    const missing = records.filter(({ name, text }) => {
      const title = text.split('\n')[0]?.slice(2) ?? ''
      return index.split(`[${title}](${name})`).length !== 2
    })
    expect(missing.map(({ name }) => name)).toEqual([])
  })
})
