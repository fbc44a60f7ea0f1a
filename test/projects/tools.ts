import { createHash, randomUUID } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { keepFirst } from '../../scripts/keep-first.ts'
import { root, run } from './package.ts'

/** Where the tools of a test project are, once they have been installed for this lockfile. */
function cached(name: string, source: string): string {
  const lock = readFileSync(join(source, 'package-lock.json'))
  return join(
    root,
    'node_modules/.cache/projects',
    `${name}-${createHash('sha256').update(lock).digest('hex').slice(0, 12)}`,
  )
}

function install(source: string, into: string): void {
  const fresh = `${into}.${randomUUID()}`
  mkdirSync(fresh, { recursive: true })
  try {
    for (const file of ['package.json', 'package-lock.json', '.npmrc'])
      cpSync(join(source, file), join(fresh, file))
    const { code, text } = run(fresh, 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'])
    if (code !== 0) throw new Error(`the tools of ${source} cannot be installed:\n${text}`)
    keepFirst(fresh, into)
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    throw error
  }
}

/**
 * The folder with the tools of a test project: other compilers, other test runners. `source`: where
 * its lockfile is. They are many
 * and large, so `npm ci` does not bring them. They come from the registry when `CI` or
 * `MERSAL_TEST_PROJECTS` is `true`, and a registry that is away then is a failure. They are kept
 * below `node_modules/.cache`. Without them the tests are left out, and this says so.
 */
export function toolsOf(
  name: string,
  source: string = join(import.meta.dirname, name),
): string | undefined {
  const folder = cached(name, source)
  if (existsSync(folder)) return folder
  const { CI, MERSAL_TEST_PROJECTS } = process.env
  if (CI !== 'true' && MERSAL_TEST_PROJECTS !== 'true') {
    process.stderr.write(
      `\n*** NO TOOLS OF ${source}: its tests are SKIPPED. MERSAL_TEST_PROJECTS=true fetches them from the registry. ***\n`,
    )
    return undefined
  }
  mkdirSync(dirname(folder), { recursive: true })
  install(source, folder)
  return folder
}
