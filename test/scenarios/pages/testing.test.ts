/** The tests that docs/testing.md shows, run by Vitest as a reader runs them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { examplesOf, onSources } from '../../house/examples.ts'
import { root } from '../../house/sources.ts'
import { run } from '../../projects/package.ts'

test('the tests of the page pass, and fail with another handler', { timeout: 240_000 }, () => {
  const [example] = examplesOf('docs/testing.md')
  mkdirSync(join(root, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tmp/testing-'))
  const vitest = (code: string) => {
    writeFileSync(join(folder, 'registrar.test.ts'), onSources(code, folder))
    writeFileSync(join(folder, 'vitest.config.ts'), 'export default {}\n')
    return run(folder, process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), 'run'])
  }
  try {
    const passed = vitest(example!.code)
    expect(passed.code, passed.text).toBe(0)
    expect(passed.text).toMatch(/Tests +2 passed \(2\)/)
    const silent = example!.code.replace(/await publish\(Registered.*/, '')
    expect(vitest(silent)).toMatchObject({ code: 1, text: expect.stringMatching(/2 failed/) })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
