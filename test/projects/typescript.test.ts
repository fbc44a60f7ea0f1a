import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lend, project, type Project, root } from './package.ts'
import { toolsOf } from './tools.ts'

const tools = toolsOf('typescript')
const { exports: subPaths } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
}
const names = Object.keys(subPaths).flatMap((path) =>
  path === './package.json' ? [] : [`mersal${path.slice(1)}`],
)
const everything = names
  .map((name, index) => `import * as m${index} from '${name}'\nvoid m${index}\n`)
  .join('')
const use = readFileSync(join(import.meta.dirname, 'typescript/use.ts.txt'), 'utf8')

const node10 = ['--module', 'commonjs', '--moduleResolution', 'node10']
const bundler = ['--module', 'esnext', '--moduleResolution', 'bundler']
const nodenext = ['--module', 'nodenext', '--moduleResolution', 'nodenext']
// Each compiler once or twice: one run takes ten seconds on a busy machine.
const projects = [
  {
    says: 'TypeScript 5.0, CommonJS with node10',
    compiler: 'typescript-5.0',
    settings: node10,
    ending: 'ts',
  },
  {
    says: 'TypeScript 5.0, ES modules with nodenext',
    compiler: 'typescript-5.0',
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
    lend(place, 'amqplib')
    for (const ending of ['ts', 'mts', 'cts']) {
      place.write(`everything.${ending}`, everything)
      place.write(`use.${ending}`, use)
    }
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

  test.each(projects)(
    'finds every sub-path, compiles right uses and refuses wrong ones: $says',
    { timeout: 300_000 },
    ({ compiler, settings, ending }) => {
      const ended = compile(
        compiler,
        settings,
        [`everything.${ending}`, `use.${ending}`],
        ['--noEmit'],
      )
      expect(ended).toEqual({ code: 0, text: '' })
    },
  )

  test('runs as CommonJS, compiled by TypeScript 5.0 with node10', { timeout: 300_000 }, () => {
    place.write(
      'main.ts',
      `
      import { Mersal } from 'mersal'
      import { memoryTransport } from 'mersal/memory'
      const app = new Mersal({ name: 'orders', transport: memoryTransport() })
      app.start().then(() => app.stop()).then(() => console.log('stopped'))`,
    )
    expect(compile('typescript-5.0', node10, ['main.ts'])).toEqual({ code: 0, text: '' })
    expect(readFileSync(join(place.folder, 'main.js'), 'utf8')).toContain('require("mersal")')
    expect(place.node(['main.js'])).toEqual({ code: 0, text: 'stopped\n' })
  })
})
