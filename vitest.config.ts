import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

// Many tests start programs of ours from their sources. With this they start in half the time: Node
// keeps what it has compiled.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/node')

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'examples/**/*.test.ts', 'demo/**/*.test.ts'],
    // Fails whatever prints a secret.
    setupFiles: ['test/house/outlet.ts'],
    // Many tests start processes of their own: one fork per file keeps them apart, and two at a
    // time keep the timing tests honest on a machine with two cores.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    retry: 0,
  },
})
