import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

// Packs the package, looks at the tarball as publint and attw do, and installs it into an empty
// folder, offline and without any peer, to see that everything that must work there does.

const root = resolve(fileURLToPath(new URL('..', import.meta.url)))
const { exports: subPaths } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
}
/** Only these need a package besides; everything else must work without any. */
const withPeer = [
  './rabbitmq',
  './nats',
  './kafka',
  './redis',
  './nestjs',
  './otel',
  './package.json',
]
const bare = Object.keys(subPaths)
  .filter((path) => !withPeer.includes(path))
  .map((path) => `mersal${path.slice(1)}`)
/** Its size and 6 %: of each feature come code, declarations, a page, and a part of the reference. */
const largestBytes = 1_300_000

function run(
  what: string,
  command: string,
  args: readonly string[],
  folder: string,
  env: NodeJS.ProcessEnv = process.env,
): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    env,
  })
  if (error !== undefined) throw new Error(`${what}: ${error.message}`)
  if (status === 0) return stdout
  process.stderr.write(`${stdout}\n${stderr}\n`)
  throw new Error(`${what} failed`)
}

const tool = (name: string): string => join(root, 'node_modules/.bin', name)

function pack(folder: string): string {
  run('npm pack', 'npm', ['pack', '--ignore-scripts', '--pack-destination', folder], root)
  const name = readdirSync(folder).find((file) => file.endsWith('.tgz'))
  if (name === undefined) throw new Error('npm pack made no tarball')
  return join(folder, name)
}

function listing(tarball: string): { readonly files: number; readonly bytes: number } {
  const names = run('tar', 'tar', ['-tzf', tarball], root).trim().split('\n')
  const odd = names.filter(
    (name) =>
      !/^package\/(?:dist\/|docs\/|ops\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/.test(
        name,
      ),
  )
  if (odd.length > 0) throw new Error(`the tarball holds what it should not: ${odd.join(', ')}`)
  const bytes = readFileSync(tarball).length
  if (bytes > largestBytes)
    throw new Error(`the tarball has ${bytes} bytes, more than ${largestBytes}`)
  return { files: names.length, bytes }
}

/** Every sub-path without a client can be imported, and has names. */
function importEverything(folder: string): string {
  const program = `
    for (const name of ${JSON.stringify(bare)}) {
      const names = Object.keys(await import(name))
      if (names.length === 0) throw new Error(name + ' exports nothing')
      console.log(name + ': ' + names.length + ' names')
    }`
  writeFileSync(join(folder, 'import.mjs'), program)
  return run('importing the installed package', process.execPath, ['import.mjs'], folder)
}

/** The program runs as npx would run it, with nothing else installed. */
function runProgram(folder: string): string {
  const help = run('npx mersal --help', 'npx', ['--no-install', 'mersal', '--help'], folder)
  if (!help.includes('mersal VERB')) throw new Error('mersal --help says nothing of verbs')
  const env = { ...process.env, DATABASE_URL: 'sqlite:./outbox.db' }
  for (const verb of [['migrate'], ['migrate', '--check'], ['status', '--quick']]) {
    run(`npx mersal ${verb.join(' ')}`, 'npx', ['--no-install', 'mersal', ...verb], folder, env)
  }
  return `mersal: ${help.split('\n').length} lines of help; it makes and checks tables on SQLite\n`
}

const folder = mkdtempSync(join(tmpdir(), 'mersal-package-'))
try {
  const tarball = pack(folder)
  const { files, bytes } = listing(tarball)
  process.stdout.write(`tarball: ${files} files, ${bytes} bytes\n`)
  run('publint', tool('publint'), ['--strict', tarball], root)
  process.stdout.write('publint: nothing to complain about\n')
  run('attw', tool('attw'), [tarball, '--ignore-rules', 'cjs-resolves-to-esm', '--no-emoji'], root)
  process.stdout.write('attw: the types fit the modules\n')

  const empty = join(folder, 'empty')
  mkdirSync(empty)
  writeFileSync(join(empty, 'package.json'), '{ "private": true }')
  run('npm install', 'npm', ['install', '--offline', '--no-audit', '--no-fund', tarball], empty)
  const installed = readdirSync(join(empty, 'node_modules')).filter((name) => !name.startsWith('.'))
  if (installed.join() !== 'mersal')
    throw new Error(`installing brings more than the package: ${installed.join(', ')}`)
  process.stdout.write(importEverything(empty))
  process.stdout.write(runProgram(empty))
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
