/** How many lines a program has for Mersal alone, as pages say it: they are marked and counted. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { examplesOf } from './examples.ts'
import { root } from './sources.ts'

const read = (path: string): string => readFileSync(join(root, path), 'utf8')

function glueIn(code: string): number {
  const regions = [...code.matchAll(/#region mersal\n([\s\S]*?)\n *\/\/ #endregion/g)]
  const inside = regions.flatMap(([, lines = '']) => lines.split('\n'))
  const single = code.split('\n').filter((line) => line.endsWith('// +'))
  return [...inside, ...single].filter((line) => line.trim() !== '').length
}

/** The rows of the table that has this heading, by their first cell. */
function table(page: string, heading: string): ReadonlyMap<string, number> {
  const text = read(page)
  const rows = text.slice(text.indexOf(heading)).split('\n\n')[0]!.split('\n').slice(2)
  return new Map(
    rows.map((row) => {
      const [, name = '', lines = ''] = row.split('|').map((cell) => cell.trim())
      return [name.replace(/\[([^\]]*)\].*/, '$1'), Number(lines)]
    }),
  )
}

test('the lines that each framework needs are those of its example', () => {
  const page = 'docs/frameworks.md'
  const headings = [...read(page).matchAll(/^## (.*)$/gm)]
  const found = examplesOf(page).map(({ code, line }) => {
    const before = headings.filter(
      ({ index }) => read(page).slice(0, index).split('\n').length < line,
    )
    return [before.at(-1)![1]!, glueIn(code)] as const
  })
  expect(found.length).toBeGreaterThan(3)
  // A framework with several files needs all of them.
  const sums = new Map<string, number>()
  for (const [name, lines] of found) sums.set(name, (sums.get(name) ?? 0) + lines)
  const said = table(page, '| framework | lines')
  for (const [name, lines] of sums) expect([name, said.get(name)]).toEqual([name, lines])
})

test('the lines that Nest needs with each library are those of the example', () => {
  const shared = glueIn(read('examples/nest/src/shop.ts'))
  const files = { TypeORM: 'typeorm', Prisma: 'prisma', MikroORM: 'mikro-orm' }
  const counted = Object.entries(files).map(
    ([name, file]) => [name, shared + glueIn(read(`examples/nest/src/${file}.ts`))] as const,
  )
  expect([...table('docs/nestjs.md', '| library | lines')]).toEqual(counted)
})
