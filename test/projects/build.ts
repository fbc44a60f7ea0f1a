import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keepFirst } from '../../scripts/keep-first.ts'

const root = resolve(fileURLToPath(new URL('../..', import.meta.url)))

/** A folder of this run of the tests, which is removed at its end (test/run/programs.ts). */
const ofThisRun = process.env['MERSAL_TEST_PROGRAMS']

/** Does as `npm run build`, into the folder; others may be building in the repository. */
function compile(into: string): void {
  run(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--outDir', into])
  run(process.execPath, [join(root, 'scripts/prune-declarations.ts'), into])
  cpSync(join(root, 'src/dashboard/page'), join(into, 'dashboard/page'), { recursive: true })
}

function run(program: string, args: readonly string[]): void {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`the package cannot be built:\n${stdout}${stderr}`)
}

/**
 * Puts what `npm run build` makes into `into`, a folder that does not exist. The first file of
 * tests that asks for it builds it, the later ones of the same run get a copy.
 */
export function build(into: string): void {
  if (ofThisRun === undefined) return compile(into)
  const kept = join(ofThisRun, 'dist')
  if (!existsSync(kept)) {
    const own = mkdtempSync(`${kept}-`)
    compile(own)
    keepFirst(own, kept)
  }
  cpSync(kept, into, { recursive: true })
}
