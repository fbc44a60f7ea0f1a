import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { project, type Project } from './package.ts'
import { toolsOf } from './tools.ts'

const tools = toolsOf('jest')
const body = readFileSync(join(import.meta.dirname, 'jest/body.txt'), 'utf8')
const names = [
  ['mersal', '{ Mersal, event }'],
  ['mersal/memory', '{ memoryStore, memoryTransport }'],
  ['mersal/testing', '{ capture, drain }'],
]
const required = names.map(([from, what]) => `const ${what} = require('${from}')\n`).join('')
const imported = names.map(([from, what]) => `import ${what} from '${from}'\n`).join('')

const modules = { NODE_OPTIONS: '--experimental-vm-modules' }
const compiled = {
  transform: {
    '\\.js$': ['babel-jest', { plugins: ['@babel/plugin-transform-modules-commonjs'] }],
  },
  transformIgnorePatterns: ['/node_modules/(?!mersal/)'],
}

const projects = [
  {
    says: 'CommonJS, on Node 24.9 or newer',
    file: 'a.test.js',
    text: required,
    config: {},
    env: modules,
  },
  {
    says: 'CommonJS, compiled by Babel',
    file: 'a.test.js',
    text: required,
    config: compiled,
    env: {},
  },
  {
    says: 'CommonJS, compiled by Babel, with jsdom',
    file: 'a.test.js',
    text: required,
    config: { ...compiled, testEnvironment: 'jsdom' },
    env: {},
  },
  { says: 'ES modules', file: 'a.test.mjs', text: imported, config: {}, env: modules },
  {
    says: 'ES modules, with jsdom',
    file: 'a.test.mjs',
    text: imported,
    config: { testEnvironment: 'jsdom' },
    env: modules,
  },
]

describe.skipIf(tools === undefined)('a project with Jest', () => {
  let place: Project
  beforeAll(() => {
    place = project(tools)
  })
  afterAll(() => place[Symbol.dispose]())

  const jest = (folder: string, env: Readonly<Record<string, string>>) =>
    place.node(
      [
        'node_modules/jest/bin/jest.js',
        '--rootDir',
        folder,
        '--config',
        `${folder}/jest.config.json`,
      ],
      env,
    )

  test.each(projects)(
    'tests an app: $says',
    { timeout: 300_000 },
    ({ says, file, text, config, env }) => {
      const folder = says.replaceAll(/\W+/g, '-')
      place.write(
        `${folder}/jest.config.json`,
        JSON.stringify({ ...config, testMatch: ['**/a.test.*'] }),
      )
      place.write(`${folder}/${file}`, text + body)
      const ended = jest(folder, env)
      expect(ended.text).toContain('Tests:       2 passed, 2 total')
      expect(ended.code).toBe(0)
    },
  )
})
