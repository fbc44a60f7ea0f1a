import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { buildPrograms } from '../../scripts/programs.ts'

const sources = join(import.meta.dirname, '../../src')
const faces = readdirSync(sources).filter((name) => name.endsWith('.ts'))
const entries = ['cli/main.ts', 'cli/index.ts', ...faces].map((path) => ({
  in: join(sources, path),
  out: path.slice(0, -'.ts'.length),
}))

/** The program `mersal`, and what its configurations import; see test/cli/project.ts. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const make = () => buildPrograms(`programs-${project.name}`, entries)
  const built = await make()
  process.env['MERSAL_TEST_PROGRAMS'] = built.folder
  project.onTestsRerun(async () => void (await make()))
  return async () => built[Symbol.asyncDispose]()
}
