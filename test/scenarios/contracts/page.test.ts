import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { onSources } from '../../house/examples.ts'
import { root } from '../../house/sources.ts'

const pages = ['contracts', 'time', 'replies', 'sagas']
const all = pages.map((name) => readFileSync(join(root, `docs/${name}.md`), 'utf8')).join('\n')
const programs = [
  ...all.matchAll(/^```ts run\n(?<code>[\s\S]*?)^```\n+```text output\n(?<output>[\s\S]*?)^```$/gm),
].map(({ groups }) => ({ code: groups!['code']!, output: groups!['output']! }))

let folder: string
beforeAll(() => {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  folder = mkdtempSync(join(root, '.tmp/contracts-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the programs of the pages', () => {
  test('are all found', () => {
    expect(programs.length).toBe(all.match(/^```ts run$/gm)?.length)
    expect(programs.length).toBeGreaterThan(0)
  })

  test.each(programs)('print what the page says: $output', ({ code, output }) => {
    writeFileSync(join(folder, 'program.mts'), onSources(code, folder))
    const options = { cwd: folder, encoding: 'utf8', timeout: 30_000 } as const
    expect(execFileSync(process.execPath, ['program.mts'], options)).toBe(output)
  })
})
