import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Ended, lend, project, type Project, root } from './package.ts'
import { toolsOf } from './tools.ts'

const tools = toolsOf('typescript')
const { exports: subPaths } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
}
// Nest has types of its own for newer compilers: nest.test.ts.
const names = Object.keys(subPaths).flatMap((path) =>
  ['./package.json', './nestjs'].includes(path) ? [] : [`mersal${path.slice(1)}`],
)
const everything = names
  .map((name, index) => `import * as m${index} from '${name}'\nvoid m${index}\n`)
  .join('')
const use = readFileSync(join(import.meta.dirname, 'typescript/use.ts.txt'), 'utf8')

const main = `
import { Mersal } from 'mersal'
import { memoryTransport } from 'mersal/memory'
const app = new Mersal({ name: 'orders', transport: memoryTransport() })
app.start().then(() => app.stop()).then(() => console.log('stopped'))`

const oldest = 'typescript-5.0'
const node10 = ['--module', 'commonjs', '--moduleResolution', 'node10']
const bundler = ['--module', 'esnext', '--moduleResolution', 'bundler']
const nodenext = ['--module', 'nodenext', '--moduleResolution', 'nodenext']
// Each compiler once or twice: one run takes ten seconds on a busy machine.
const projects = [
  {
    says: 'TypeScript 5.0, CommonJS with node10',
    compiler: oldest,
    settings: node10,
    ending: 'ts',
  },
  {
    says: 'TypeScript 5.0, ES modules with nodenext',
    compiler: oldest,
    settings: nodenext,
    ending: 'mts',
  },
  { says: 'TypeScript 5.3, bundler', compiler: 'typescript-5.3', settings: bundler, ending: 'ts' },
  {
    says: 'TypeScript 5.4, CommonJS with node10',
    compiler: 'typescript-5.4',
    settings: node10,
    ending: 'ts',
  },
  // Knows since 5.8 that Node can require ES modules. The types of Node here are too old for it to
  // check.
  {
    says: 'TypeScript 5.9, CommonJS with nodenext',
    compiler: 'typescript-5.9',
    settings: [...nodenext, '--skipLibCheck'],
    ending: 'cts',
  },
]

describe.skipIf(tools === undefined)('a project in TypeScript', () => {
  let place: Project
  beforeAll(() => {
    place = project(tools)
    for (const peer of ['amqplib', '@opentelemetry/api']) lend(place, peer)
    for (const ending of ['ts', 'mts', 'cts']) {
      place.write(`everything.${ending}`, everything)
      place.write(`use.${ending}`, use)
    }
    place.write('main.ts', main)
  })
  afterAll(() => place[Symbol.dispose]())

  const compile = (
    compiler: string,
    settings: readonly string[],
    files: readonly string[],
    more: readonly string[] = [],
  ) =>
    place.node([
      `node_modules/${compiler}/lib/tsc.js`,
      '--strict',
      '--target',
      'es2022',
      '--types',
      'node',
      ...settings,
      ...more,
      ...files,
    ])

  // One run of the oldest compiler says whether it takes everything, and writes the program.
  let ended: Ended | undefined
  const withMain = (): Ended =>
    (ended ??= compile(oldest, node10, ['everything.ts', 'use.ts', 'main.ts'], ['--outDir', 'out']))

  test.each(projects)(
    'finds every sub-path, compiles right uses and refuses wrong ones: $says',
    { timeout: 300_000 },
    ({ compiler, settings, ending }) => {
      const files = [`everything.${ending}`, `use.${ending}`]
      const said =
        compiler === oldest && settings === node10
          ? withMain()
          : compile(compiler, settings, files, ['--noEmit'])
      expect(said).toEqual({ code: 0, text: '' })
    },
  )

  test('runs as CommonJS, compiled by TypeScript 5.0 with node10', { timeout: 300_000 }, () => {
    expect(withMain()).toEqual({ code: 0, text: '' })
    expect(readFileSync(join(place.folder, 'out/main.js'), 'utf8')).toContain('require("mersal")')
    expect(place.node(['out/main.js'])).toEqual({ code: 0, text: 'stopped\n' })
  })
})
