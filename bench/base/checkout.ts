import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The source of another revision, beside this one. */
export interface Checkout {
  /** Short name of the commit. */
  readonly commit: string
  /** Path of its `bench/main.ts`. */
  readonly main: string
}

/** What the source and its build are read with. */
const CONFIGURATION = ['package.json', 'tsconfig.json', 'tsconfig.check.json']

const git = (...given: string[]): string =>
  execFileSync('git', given, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

/**
 * Puts the source of a revision below `.tmp`, where it finds the packages of this checkout.
 * The benchmark itself is that of this checkout: both sides are measured by the same instrument.
 */
export function checkOut(revision: string): Checkout {
  const commit = git('rev-parse', '--short', '--verify', `${revision}^{commit}`).trim()
  const folder = join(root, '.tmp/bench-base')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const archive = join(folder, 'src.tar')
  git('archive', '--output', archive, commit, 'src', ...CONFIGURATION)
  execFileSync('tar', ['-xf', archive, '-C', folder])
  for (const part of ['bench', 'scripts'])
    cpSync(join(root, part), join(folder, part), {
      recursive: true,
      filter: (path) => !/\/(results|node_modules)(\/|$)/.test(path.slice(root.length - 1)),
    })
  mkdirSync(join(folder, 'bench/results'))
  return { commit, main: join(folder, 'bench/main.ts') }
}
