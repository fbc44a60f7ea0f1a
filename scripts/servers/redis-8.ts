import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { keepFirst } from '../keep-first.ts'

/** A program, and the arguments that come before its own. */
export interface ServerCommand {
  readonly program: string
  readonly args: readonly string[]
}

const cache = join(homedir(), '.cache', 'mersal')
/** Once fetched, for every checkout on this machine. */
const root = join(cache, 'redis-8')
const libraries = join(root, 'usr/lib/x86_64-linux-gnu')
const suite = 'trixie'
/** With the libraries that it needs, so that those of this machine may be older. */
const packages = [
  'redis-tools',
  'libc6',
  'libatomic1',
  'libjemalloc2',
  'liblzf1',
  'libssl3t64',
  'libstdc++6',
  'libgcc-s1',
  'libsystemd0',
  'libcap2',
  'libzstd1',
  'zlib1g',
]

const runs = (program: string): boolean =>
  spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined

/** What keeps Redis 8 of Debian 13 from running on this machine, or undefined. */
export function redis8Problem(): string | undefined {
  if (existsSync(root)) return undefined
  if (process.arch !== 'x64' || !runs('apt-get') || !runs('dpkg'))
    return 'Redis 8 is fetched from Debian 13, which needs apt-get, dpkg and a processor of x64'
  return undefined
}

/** Redis 8 of Debian 13, which is fetched unless it is here. Rejects if it cannot be fetched. */
export function redis8(): ServerCommand {
  if (!existsSync(root)) fetchInto(root)
  return {
    program: join(libraries, 'ld-linux-x86-64.so.2'),
    args: [
      // The server and the checker are one program, which goes by its name.
      '--argv0',
      'redis-server',
      '--library-path',
      libraries,
      join(root, 'usr/bin/redis-check-rdb'),
    ],
  }
}

function fetchInto(target: string): void {
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'fetching-'))
  try {
    const apt = aptIn(folder)
    run(folder, 'apt-get', ...apt, 'update', '-qq')
    run(folder, 'apt-get', ...apt, 'download', '-qq', ...packages)
    for (const file of globSync('*.deb', { cwd: folder }))
      run(folder, 'dpkg', '-x', file, join(folder, 'root'))
    keepFirst(join(folder, 'root'), target)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Options with which apt-get looks into that suite alone, and changes nothing of this machine. */
function aptIn(folder: string): string[] {
  for (const name of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'status'), '')
  writeFileSync(join(folder, 'sources.list'), `deb ${mirror()} ${suite} main\n`)
  return [
    `Dir::Etc::sourcelist=${join(folder, 'sources.list')}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${join(folder, 'lists')}`,
    `Dir::State::status=${join(folder, 'status')}`,
    `Dir::Cache=${join(folder, 'cache')}`,
    'APT::Sandbox::User=',
  ].flatMap((option) => ['-o', option])
}

/** The one that this machine uses; without one, that of Debian. */
function mirror(): string {
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', '$(REPO_URI)'], {
    encoding: 'utf8',
  })
  const uris = stdout.split('\n')
  return uris.find((uri) => uri.endsWith('/debian/')) ?? 'http://deb.debian.org/debian/'
}

function run(folder: string, program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.at(-1)}: ${stderr}`)
}
