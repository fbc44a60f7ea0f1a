import { readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { buildPrograms } from '../../scripts/programs.ts'

const sources = join(import.meta.dirname, '../../src')
const faces = readdirSync(sources).filter((name) => name.endsWith('.ts'))
const ours = ['cli/main.ts', 'cli/index.ts', ...faces].map((path) => ({
  in: join(sources, path),
  out: path.slice(0, -'.ts'.length),
}))
const demo = ['main', 'apps'].map((name) => ({
  in: join(import.meta.dirname, `../../demo/${name}.ts`),
  out: `demo/${name}`,
}))
const crashWorker = join(import.meta.dirname, '../scenarios/crash/worker.ts')
const entries = [...ours, ...demo, { in: crashWorker, out: 'crash-worker' }]

/**
 * The program `mersal`, what its configurations import, the demo, and the processes that are killed
 * at crash points. Tests start them hundreds of times: see test/cli/project.ts.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const make = () => buildPrograms(`programs-${project.name}`, entries)
  const built = await make()
  process.env['MERSAL_TEST_PROGRAMS'] = built.folder
  project.onTestsRerun(async () => {
    // The package that test/projects/build.ts has made of the sources as they were.
    await rm(join(built.folder, 'dist'), { recursive: true, force: true })
    await make()
  })
  return async () => built[Symbol.asyncDispose]()
}
