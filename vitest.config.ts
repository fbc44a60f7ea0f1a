import { join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/run/longest-first.ts'

// Many tests start programs of ours from their sources. With this they start in half the time: Node
// keeps what it has compiled.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/node')

const everything = ['test/**/*.test.ts', 'examples/**/*.test.ts', 'demo/**/*.test.ts']

/** Seconds for all of them, and no server needed: what to run while writing code. */
const fast = [
  'test/{unit,property,house}/**/*.test.ts',
  'test/bench/{check,comparison,goals,scaling}.test.ts',
  'test/chaos/{checkers,feature-checkers,page}.test.ts',
  'test/contract/memory.test.ts',
  'test/crash-{matrix,features}/points.test.ts',
  'demo/reconcile.test.ts',
]

/** Many processes, random schedules, or tools that are installed first. */
const long = [
  'test/{chaos,inputs,model,projects,simulation,upgrade,user-code}/**/*.test.ts',
  'test/bench/bench.test.ts',
  'test/scenarios/crash-matrix-*.test.ts',
  'test/crash-features/killed.test.ts',
  'test/scenarios/{postgres-relays,relay-program}.test.ts',
  'examples/**/*.test.ts',
  'demo/**/*.test.ts',
]

const globalSetup = ['test/run/programs.ts']

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'fast', include: fast, isolate: false } },
      {
        extends: true,
        test: { name: 'servers', include: everything, exclude: [...fast, ...long], globalSetup },
      },
      { extends: true, test: { name: 'long', include: long, exclude: fast, globalSetup } },
    ],
    // Fails whatever prints a secret.
    setupFiles: ['test/house/outlet.ts'],
    reporters: ['default', './test/run/progress.ts'],
    // Many tests start processes of their own: one fork per file keeps them apart. Most of them
    // wait for servers three quarters of their time, so five share two cores.
    pool: 'forks',
    maxWorkers: 5,
    sequence: { sequencer: LongestFirst },
    // No test is red only because the machine is busy: what has to be quick is measured by the test
    // itself. This ends what hangs.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    restoreMocks: true,
    retry: 0,
  },
})
