import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageName } from '../../lib/text.ts'
import { CommandError } from '../exit.ts'
import { distrust } from './trusted-file.ts'

/**
 * A package as it is installed for the project, or undefined. Found from the folder, not from where
 * this program is.
 */
export function findPackage(
  name: string,
  cwd: string,
): { readonly file: string; readonly version: string } | undefined {
  let file: string
  try {
    file = createRequire(join(cwd, 'package.json')).resolve(name)
  } catch {
    return undefined
  }
  return { file, version: versionOf(packageName(name), file) }
}

/** Some packages do not export their package.json, so it is looked for above the file. */
function versionOf(name: string, file: string): string {
  for (let folder = dirname(file); folder !== dirname(folder); folder = dirname(folder)) {
    const path = join(folder, 'package.json')
    if (!existsSync(path)) continue
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as { name?: unknown; version?: unknown }
    if (manifest.name === name) return String(manifest.version)
  }
  return '?'
}

/** Loads a client of the project. */
export async function loadPackage(
  name: string,
  cwd: string,
): Promise<Readonly<Record<string, unknown>>> {
  const found = findPackage(name, cwd)
  if (found === undefined)
    throw new CommandError(
      `the package '${packageName(name)}' is not installed here: npm install ${packageName(name)}`,
    )
  const doubt = distrust(found.file)
  if (doubt !== undefined)
    throw new CommandError(
      `the package '${name}' was found and not run, since ${doubt}; install it here, or write a configuration that imports it and name it: --config FILE`,
    )
  return (await import(pathToFileURL(found.file).href)) as Readonly<Record<string, unknown>>
}
