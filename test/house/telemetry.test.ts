import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './sources.ts'

const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const operations = read('docs/telemetry.md')
const events = read('docs/reference/events.md')

/** Those of these names that have no row in the table. */
const missing = (table: string, names: readonly string[]): string[] =>
  names.filter((name) => !table.includes(`\n| \`${name}\` | `))

test('each operation has a row in docs/telemetry.md, and each event one in the reference', () => {
  const traced = [...read('src/core/traced.ts').matchAll(/tracingChannel\('([^']+)'\)/g)]
  const emitted = [...read('src/core/telemetry.ts').matchAll(/^ {2}'(mersal:[^']+)': \{/gm)]
  expect([traced.length, emitted.length]).toEqual([7, 12])
  expect(
    missing(
      operations,
      traced.map(([, name]) => name!),
    ),
  ).toEqual([])
  expect(
    missing(
      events,
      emitted.map(([, name]) => name!),
    ),
  ).toEqual([])
  expect(missing(events, ['mersal:nothing'])).toEqual(['mersal:nothing'])
})
