import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { loadConfig } from '../../../src/cli/config/load-config.ts'

const folder = mkdtempSync(join(tmpdir(), 'mersal-config-'))
const hooks = globalThis as { mersalConfigAsked?: () => void }

afterEach(() => {
  vi.useRealTimers()
  delete hooks.mersalConfigAsked
  rmSync(folder, { recursive: true })
})

test('a configuration that waits for ever is told, in place of the silence of Node', async () => {
  const path = join(folder, 'mersal.config.mjs')
  writeFileSync(path, 'export default () => { mersalConfigAsked(); return new Promise(() => {}) }')
  const asked = Promise.withResolvers<void>()
  hooks.mersalConfigAsked = asked.resolve
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const loading = loadConfig({ path, cwd: folder, env: {}, hide: () => {} })
  const told = expect(loading).rejects.toThrow(
    'it waits for something that has not come within 30 s',
  )
  await asked.promise
  await vi.advanceTimersByTimeAsync(30_000)
  await told
})
