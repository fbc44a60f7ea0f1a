import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lend, project, type Project } from './package.ts'
import { toolsOf } from './tools.ts'

const tools = toolsOf('nest')
const main = readFileSync(join(import.meta.dirname, 'nest/main.ts.txt'), 'utf8')
const settings = [
  '--target',
  'es2022',
  '--lib',
  'es2024,dom',
  '--strict',
  '--experimentalDecorators',
  '--emitDecoratorMetadata',
  '--skipLibCheck',
]

/** Compiles the program with its decorators, runs it, and returns what it prints. */
function run(place: Project, name: string, module: readonly string[]): string {
  place.write(name, main)
  const compiler = join(tools!, 'node_modules/typescript/lib/tsc.js')
  const compiled = place.node([compiler, '--pretty', 'false', ...settings, ...module, name])
  if (compiled.code !== 0) return compiled.text
  const { code, text } = place.node([name.replace(/ts$/, 'js')])
  return `${text}exit ${code}`
}

const printed = ['answered 201', 'closed', 'exit 0', 'placed 7']
const lines = (text: string): string[] => text.trim().split('\n').toSorted()

describe.skipIf(tools === undefined)('a project with Nest', () => {
  let eleven: Project
  let twelve: Project
  beforeAll(() => {
    eleven = project(tools)
    twelve = project()
    for (const name of ['common', 'core', 'platform-express']) lend(twelve, `@nestjs/${name}`)
    lend(twelve, 'reflect-metadata')
    lend(twelve, 'rxjs')
  })
  afterAll(() => {
    eleven[Symbol.dispose]()
    twelve[Symbol.dispose]()
  })

  test('11, CommonJS', { timeout: 300_000 }, () => {
    const module = ['--module', 'nodenext', '--moduleResolution', 'nodenext']
    expect(lines(run(eleven, 'main.cts', module))).toEqual(printed)
  })

  test('12, ES modules', { timeout: 300_000 }, () => {
    const module = ['--module', 'nodenext', '--moduleResolution', 'nodenext']
    expect(lines(run(twelve, 'main.mts', module))).toEqual(printed)
  })
})
