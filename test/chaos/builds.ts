/**
 * Another build of Mersal, from the history of this repository, for runs in which two of them work
 * beside each other.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** The commit of the previous build: its tables have version 4. */
export const PREVIOUS = '1cab82145ecafa97ceb73065ce988753a1bc4cea'

export interface Build {
  readonly name: 'previous' | 'present'
  /** Folder of its source. */
  readonly source: string
  /** Its own program, so that no part of it is of another build. */
  readonly worker: string
}

export const presentBuild = (source: string): Build => ({
  name: 'present',
  source,
  worker: join(import.meta.dirname, 'worker.ts'),
})

export interface PreviousBuild extends AsyncDisposable {
  /** As it was deployed: it checks the version of the tables. */
  readonly first: Build
  /**
   * As somebody has to start it who goes back while the tables stay new: it does not look at their
   * version.
   */
  readonly back: Build
}

/** A face of the build whose stores and queues do not look at the version of their tables. */
function unchecked(face: string, makers: readonly string[]): string {
  const open = makers.map(
    (maker) =>
      `export const ${maker} = (options: Parameters<typeof face.${maker}>[0]) => face.${maker}({ ...options, migrate: 'off' })`,
  )
  const path = `'../src/${face}.ts'`
  return [`import * as face from ${path}`, `export * from ${path}`, ...open, ''].join('\n')
}

/** Face, and what of it opens tables in this build or in later ones. */
const faces: Readonly<Record<string, readonly string[]>> = {
  index: [],
  rabbitmq: [],
  postgres: ['postgres', 'postgresQueue'],
  sqlite: ['sqlite', 'sqliteQueue'],
  mysql: ['mysql'],
}

async function writeUnchecked(folder: string): Promise<void> {
  await mkdir(join(folder, 'unchecked'))
  for (const [face, makers] of Object.entries(faces))
    if (existsSync(join(folder, 'src', `${face}.ts`)))
      await writeFile(join(folder, 'unchecked', `${face}.ts`), unchecked(face, makers))
}

/**
 * Throws where the history is not there: in a shallow clone, or in an archive of the files alone.
 */
export async function previousBuild(commit = PREVIOUS): Promise<PreviousBuild> {
  const folder = await mkdtemp(join(tmpdir(), 'mersal-chaos-previous-'))
  const archive = join(folder, 'build.tar')
  try {
    await run(
      'git',
      ['archive', '--output', archive, commit, 'src', 'test', 'scripts', 'package.json'],
      { cwd: root },
    )
    await run('tar', ['-xf', archive, '-C', folder])
    await rm(archive)
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    await writeUnchecked(folder)
  } catch (error) {
    await rm(folder, { recursive: true })
    throw new Error(
      `the previous build, commit ${commit}, could not be taken from the history of this folder; a whole clone has it (git fetch --unshallow)`,
      { cause: error },
    )
  }
  const worker = join(folder, 'test/chaos/worker.ts')
  return {
    first: { name: 'previous', source: join(folder, 'src'), worker },
    back: { name: 'previous', source: join(folder, 'unchecked'), worker },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}
