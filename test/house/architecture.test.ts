import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import { circlesOf } from './circles.ts'
import { forbiddenImports, foreignPackages, hiddenWorld, portedFolders } from './rules.ts'
import { places, sourceOf, sourcesIn } from './sources.ts'

const sources = sourcesIn('src')

/** Longer than 300 lines since lines have at most 100 characters. */
const stillTooLong: readonly string[] = []

/** Circles of types that are to be untied. */
const stillTied: readonly (readonly string[])[] = [
  ['src/app/receive/handling-steps.ts', 'src/app/types.ts'],
  ['src/transports/rabbitmq/consume/mover.ts', 'src/transports/rabbitmq/consume/settle.ts'],
]

describe('the sources', () => {
  test('are found at all', () => {
    expect(sources.length).toBeGreaterThan(20)
    expect(sources.flatMap(({ imports }) => imports).length).toBeGreaterThan(50)
  })

  test('import only what their folder may import', () => {
    expect(sources.flatMap(forbiddenImports)).toEqual([])
  })

  test('import each other in no circle, not even their types', () => {
    expect(circlesOf(sources)).toEqual(stillTied)
  })

  test('name a package only in the folder of its adapter', () => {
    expect(sources.flatMap(foreignPackages)).toEqual([])
  })

  test('have at most 300 lines per file', () => {
    const long = sources.filter(({ text }) => text.trimEnd().split('\n').length > 300)
    // What is to be split. A file that is no longer too long must be taken off the list.
    expect(long.map(({ path }) => path).toSorted()).toEqual(stillTooLong.toSorted())
  })

  test('lie in folders of at most 14 files', () => {
    const folders = Map.groupBy(sources, ({ path }) => dirname(path))
    const full = [...folders].filter(([, files]) => files.length > 14)
    expect(full.map(([folder, files]) => `${folder}: ${files.length} files`)).toEqual([])
  })

  test('say their relative imports with the ending .ts', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => target !== undefined && !target.endsWith('.ts'))
        .map(({ specifier }) => `${path}: ${specifier}`),
    )
    expect(wrong).toEqual([])
  })

  test('contain no any, except where a comment gives the reason', () => {
    const any = /(?::|\bas|<|\||&|,|=>|=)\s*any\b(?!\s*[:(.])|\bany\[\]/
    const excused = /oxlint-disable-next-line typescript\/no-explicit-any -- \S+/
    const found = sources.flatMap((source) =>
      places(source, any).filter((place) => {
        const line = Number(place.split(':')[1])
        return !excused.test(source.text.split('\n')[line - 2] ?? '')
      }),
    )
    expect(found).toEqual([])
  })

  test('contain no enum, no namespace and no decorator', () => {
    expect(
      sources.flatMap((source) =>
        places(
          source,
          /^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s|^\s*(?:export\s+)?namespace\s|^\s*@\w/,
        ),
      ),
    ).toEqual([])
  })

  test('contain no open task and no console', () => {
    expect(
      sources.flatMap((source) => places(source, /\b(?:TODO|FIXME|XXX|HACK)\b/, 'text')),
    ).toEqual([])
    expect(sources.flatMap((source) => places(source, /\bconsole\s*\./))).toEqual([])
  })

  test('switch off no rule of the linter or the compiler without a reason', () => {
    const silent =
      /(?:oxlint|eslint)-disable(?!.*--\s*\S)|@ts-(?:ignore|nocheck)|@ts-expect-error\s*$/
    expect(sources.flatMap((source) => places(source, silent, 'text'))).toEqual([])
  })

  test('reach clock, timers and randomness only through the ports', () => {
    const ported = sources.filter(({ path }) =>
      portedFolders.some((folder) => path.startsWith(`${folder}/`)),
    )
    expect(ported.flatMap((source) => places(source, hiddenWorld))).toEqual([])
  })
})

/** The checks above pass on good sources; these show that they do not pass on bad ones. */
describe('the checks', () => {
  test('find a circle of three files, and no line of them', () => {
    const file = (path: string, target?: string) => ({
      path,
      imports: [{ specifier: '', typeOnly: true, target }],
    })
    expect(circlesOf([file('a', 'b'), file('b', 'c'), file('c', 'a'), file('d', 'a')])).toEqual([
      ['a', 'b', 'c'],
    ])
    expect(circlesOf([file('a', 'b'), file('b', 'c'), file('c')])).toEqual([])
  })

  const forbidden: readonly (readonly [string, string])[] = [
    ['src/lib/a.ts', "import { MersalError } from '../core/errors.ts'"],
    ['src/core/a.ts', "import type { Relay } from '../outbox/types.ts'"],
    ['src/outbox/a.ts', "export * from '../app/mersal.ts'"],
    ['src/stores/sqlite/a.ts', "import { pool } from '../postgres/pool.ts'"],
    ['src/stores/memory.ts', "import { x } from './sqlite/store.ts'"],
    ['src/transports/rabbitmq/a.ts', "import { x } from '../sqlite/queue.ts'"],
    ['src/transports/rabbitmq/b.ts', "import { x } from '../../stores/sqlite/database.ts'"],
    ['src/transports/sqlite/b.ts', "import { x } from '../../stores/sqlite/outbox.ts'"],
    ['src/app/a.ts', "const late = await import('../stores/memory.ts')"],
    ['src/testing/a.ts', "import {\n  x,\n} from '../stores/sqlite/store.ts'"],
    ['src/index.ts', "export { memory } from './stores/memory.ts'"],
    ['src/helpers/a.ts', ''],
  ]
  test.each(forbidden)('refuse an import in %s', (path, text) => {
    expect(forbiddenImports(sourceOf(path, text))).toHaveLength(1)
  })

  test.each([
    ['src/transports/sqlite/a.ts', "import { open } from '../../sql/sqlite/database.ts'"],
    ['src/testing/a.ts', "import { memory } from '../stores/memory.ts'"],
    ['src/stores/sqlite/a.ts', "import { b } from './b.ts'"],
    ['src/app/a.ts', "// import { x } from '../stores/memory.ts'"],
  ])('allow an import in %s', (path, text) => {
    expect(forbiddenImports(sourceOf(path, text))).toEqual([])
  })

  test('tell a package from a node module, and a client from its adapter', () => {
    expect(foreignPackages(sourceOf('src/app/a.ts', "import { z } from 'zod'"))).toHaveLength(1)
    expect(
      foreignPackages(sourceOf('src/app/a.ts', "import 'pg'\nimport fs from 'node:fs'")),
    ).toHaveLength(1)
    expect(
      foreignPackages(sourceOf('src/app/a.ts', "import type { Pool } from 'pg'")),
    ).toHaveLength(1)
    expect(
      foreignPackages(sourceOf('src/stores/postgres/a.ts', "import { Pool } from 'pg'")),
    ).toEqual([])
  })

  test('see through comments and strings', () => {
    const source = sourceOf(
      'src/app/a.ts',
      "const a = 'Date.now' // Date.now\nconst b = `${Date.now()} setTimeout`\n",
    )
    expect(places(source, hiddenWorld)).toEqual([
      'src/app/a.ts:2: const b = `${Date.now()} setTimeout`',
    ])
  })
})
