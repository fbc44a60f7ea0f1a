import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

// Also right in a bundle, which lies in bench/results.
const folder = fileURLToPath(new URL('../peers/', import.meta.url))
const require = createRequire(`${folder}package.json`)

/** Installs what `package-lock.json` of this folder says, unless all of it is there. */
export async function installPeers(): Promise<void> {
  if (Object.entries(peerVersions()).every(([name, version]) => installedVersion(name) === version))
    return
  process.stderr.write('installing the libraries to compare with (npm ci in bench/peers)\n')
  await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
  })
}

function installedVersion(name: string): string | undefined {
  const manifest = `${folder}node_modules/${name}/package.json`
  return existsSync(manifest)
    ? (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version
    : undefined
}

/** Name → version, of those that are installed for comparison. */
export function peerVersions(): Readonly<Record<string, string>> {
  const { dependencies } = JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as {
    dependencies: Record<string, string>
  }
  return dependencies
}

/**
 * The caller says what it needs of the library: its types are not there when the project is
 * checked.
 */
export async function loadPeer<Library>(name: string): Promise<Library> {
  const loaded = (await import(pathToFileURL(require.resolve(name)).href)) as Library & {
    readonly default?: object
  }
  // Of some CommonJS modules Node cannot tell the names.
  return { ...loaded.default, ...loaded }
}
