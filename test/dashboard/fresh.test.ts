import { execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { root } from '../projects/package.ts'
import { tools } from './browser.ts'

const committed = join(root, 'src/dashboard/page')

test.skipIf(tools === undefined)(
  'the page is what its sources make (cd ui && npm run build)',
  () => {
    mkdirSync(join(root, '.tmp'), { recursive: true })
    const around = mkdtempSync(join(root, '.tmp/ui-'))
    const folder = join(around, 'ui')
    try {
      cpSync(join(root, 'tsconfig.json'), join(around, 'tsconfig.json'))
      for (const part of [
        'index.html',
        'build.ts',
        'package.json',
        'tsconfig.json',
        'src',
        'public',
      ])
        cpSync(join(root, 'ui', part), join(folder, part), { recursive: true })
      symlinkSync(join(tools!, 'node_modules'), join(folder, 'node_modules'))
      // The runner of the tests says that this is no production.
      const env = { ...process.env, NODE_ENV: 'production' }
      const run = (command: string, ...args: string[]): void =>
        void execFileSync(command, args, { cwd: folder, timeout: 120_000, stdio: 'pipe', env })
      run(join(root, 'node_modules/.bin/tsc'), '-p', 'tsconfig.json')
      run(process.execPath, 'build.ts', 'made')
      const names = readdirSync(committed).toSorted()
      expect(readdirSync(join(folder, 'made')).toSorted()).toEqual(names)
      const same = (name: string): boolean =>
        readFileSync(join(folder, 'made', name)).equals(readFileSync(join(committed, name)))
      expect(names.filter((name) => !same(name))).toEqual([])
    } finally {
      rmSync(around, { recursive: true, force: true })
    }
  },
)

test('the page is small, and loads nothing from elsewhere', () => {
  const files = readdirSync(committed).map((name) => readFileSync(join(committed, name)))
  expect(files.reduce((sum, file) => sum + gzipSync(file).length, 0)).toBeLessThan(25_000)
  expect(readFileSync(join(committed, 'app.js')).length).toBeLessThan(60_000)
  const text = files.join('\n')
  expect(
    text.match(/(?:https?:)?\/\/[\w.-]+\.\w+/g)?.filter((one) => !one.includes('www.w3.org')) ?? [],
  ).toEqual([])
  expect(readFileSync(join(committed, 'index.html'), 'utf8')).not.toMatch(
    /<style|style=|<script>|onclick/,
  )
})
