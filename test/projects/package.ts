import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from './build.ts'

export const root: string = resolve(fileURLToPath(new URL('../..', import.meta.url)))

export interface Ended {
  readonly code: number | null
  /** Both outputs, without colours. */
  readonly text: string
}

/** A folder outside of the repository into which the built package is installed. */
export interface Project extends Disposable {
  readonly folder: string
  readonly write: (name: string, text: string) => void
  /** Runs a JavaScript program with the Node of the tests, in the folder. */
  readonly node: (args: readonly string[], env?: Readonly<Record<string, string>>) => Ended
}

export function run(
  folder: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Ended {
  // What vitest tells its own processes is not meant for the programs of another tool.
  const { NODE_OPTIONS: _, NODE_ENV: __, VITEST: ___, ...rest } = process.env
  const options = {
    cwd: folder,
    encoding: 'utf8',
    env: { ...rest, NO_COLOR: '1', FORCE_COLOR: '0', ...env },
  } as const
  const { status, stdout, stderr, error } = spawnSync(command, args, options)
  if (error !== undefined) throw error
  return { code: status, text: `${stdout}${stderr}` }
}

/** The package as `npm install` would put it there: its manifest and what the build makes. */
function install(folder: string): void {
  const target = join(folder, 'node_modules/mersal')
  mkdirSync(target, { recursive: true })
  cpSync(join(root, 'package.json'), join(target, 'package.json'))
  build(join(target, 'dist'))
}

/**
 * `tools` is a folder with packages, which then are found from the project as if installed there.
 */
export function project(tools?: string): Project {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-project-'))
  try {
    install(folder)
    const packages =
      tools === undefined
        ? []
        : readdirSync(join(tools, 'node_modules')).filter((name) => !name.startsWith('.'))
    for (const name of packages)
      symlinkSync(join(tools!, 'node_modules', name), join(folder, 'node_modules', name))
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
  return {
    folder,
    write: (name, text) => {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    },
    node: (args, env) => run(folder, process.execPath, args, env),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** A package of the repository itself, in a project that needs it. */
export function lend(to: Pick<Project, 'folder'>, name: string): void {
  const place = join(to.folder, 'node_modules', name)
  mkdirSync(dirname(place), { recursive: true })
  symlinkSync(join(root, 'node_modules', name), place)
}
