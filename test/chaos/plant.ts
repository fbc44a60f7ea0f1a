/** Copies of the source with a bug in them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Mutant } from './mutants.ts'
import { planted } from './planted.ts'
import { run } from './run.ts'

const root = join(import.meta.dirname, '../..')

/** No test of a suite takes nearly as long without a bug, on a busy machine either. */
const LONGEST_TEST_MS = 60_000

export interface Caught {
  readonly mutant: Mutant
  /** Names of the checks that were red, or of the suite. Empty: nobody noticed. */
  readonly by: readonly string[]
  readonly runs: number
  readonly seconds: number
}

/** A folder like the project, with the bug in its source. */
export async function plant(
  { name, changes }: Pick<Mutant, 'name' | 'changes'>,
  parts: readonly string[],
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mersal-chaos-mutant-'))
  for (const part of parts) await cp(join(root, part), join(folder, part), { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  const source = join(folder, 'src')
  // One after the other: two may be in one file.
  for (const change of changes)
    await writeFile(join(source, change.file), await planted(name, source, change))
  return folder
}

/** Whether the suite fails, and not for want of tests. */
async function suiteFails(folder: string, suite: string): Promise<boolean> {
  const report = join(folder, 'report.json')
  const program = join(root, 'node_modules/vitest/vitest.mjs')
  const child = spawn(
    process.execPath,
    [
      program,
      'run',
      suite,
      // A bug may make tests wait for ever.
      `--testTimeout=${LONGEST_TEST_MS}`,
      // Runs beside each other would clear away what the other one has kept.
      `--fsModuleCachePath=${join(folder, '.vitest-cache')}`,
      '--reporter=json',
      `--outputFile=${report}`,
    ],
    {
      cwd: folder,
      stdio: 'ignore',
    },
  )
  await once(child, 'close')
  const { numPassedTests, numFailedTests } = JSON.parse(await readFile(report, 'utf8')) as Record<
    string,
    number
  >
  if ((numPassedTests ?? 0) === 0) throw new Error(`no test of ${suite} passed: it proves nothing`)
  return (numFailedTests ?? 0) > 0
}

/** Runs until somebody notices, but not more often than this. */
export async function hunt(
  mutant: Mutant,
  { most, seed }: { readonly most: number; readonly seed: number },
): Promise<Caught> {
  const began = performance.now()
  const seconds = (): number => Math.round((performance.now() - began) / 1000)
  const { under } = mutant
  const whole = [
    'src',
    'package.json',
    'test',
    'scripts',
    // Its programs are bundled for the tests.
    'demo',
    'tsconfig.json',
    'tsconfig.check.json',
    'vitest.config.ts',
  ]
  const folder = await plant(mutant, 'suite' in under ? whole : ['src', 'package.json'])
  try {
    if ('suite' in under)
      return {
        mutant,
        by: (await suiteFails(folder, under.suite)) ? [under.suite] : [],
        runs: 1,
        seconds: seconds(),
      }
    for (let runs = 1; runs <= most; runs += 1) {
      const outcome = await run({
        ...under,
        seed: seed + runs,
        least: 0,
        drainSeconds: 25,
        source: join(folder, 'src'),
      })
      const by = outcome.findings.filter(({ count }) => count > 0).map(({ check }) => check)
      if (outcome.kept !== undefined) await rm(outcome.kept, { recursive: true })
      if (by.length > 0) return { mutant, by, runs, seconds: seconds() }
    }
    return { mutant, by: [], runs: most, seconds: seconds() }
  } finally {
    await rm(folder, { recursive: true })
  }
}
