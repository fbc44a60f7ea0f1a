import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

// A mirror of the registry may lack the binaries of other platforms. npm then leaves them out of
// the lockfile, and `npm ci` refuses that lockfile everywhere. This adds what is missing: version
// and platform are known, the hash is not, so npm takes such a package on trust where it is needed.

interface Entry {
  readonly version?: string
  readonly dev?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const systems = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
]
const processors = [
  'arm64',
  'arm',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
  'x64',
]

/** Platform of a package by the words of its name, such as `@oxlint/binding-linux-arm64-musl`. */
function platformOf(name: string): { cpu?: string[]; libc?: string[]; os?: string[] } {
  const words = name.split(/[-/]/)
  const cpu = processors.find((word) => words.includes(word))
  const os = systems.find((word) => words.includes(word))
  if (cpu === undefined || os === undefined)
    throw new Error(`cannot tell the platform of ${name}; add it with npm from a full registry`)
  const libc =
    os !== 'linux'
      ? undefined
      : words.some((word) => word.startsWith('musl'))
        ? 'musl'
        : words.some((word) => word.startsWith('gnu'))
          ? 'glibc'
          : undefined
  return { cpu: [cpu], ...(libc === undefined ? {} : { libc: [libc] }), os: [os] }
}

const file = join(resolve(fileURLToPath(new URL('..', import.meta.url))), 'package-lock.json')
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> }
const added: string[] = []

for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === '') continue
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (`${path}/node_modules/${name}` in lock.packages || `node_modules/${name}` in lock.packages)
      continue
    if (!/^\d+\.\d+\.\d+$/.test(version))
      throw new Error(`${path} wants ${name} ${version}, which is no single version`)
    const platform = platformOf(name)
    lock.packages[`node_modules/${name}`] = {
      version,
      ...platform,
      ...(entry.dev === true ? { dev: true } : {}),
      optional: true,
    } as Entry
    added.push(name)
  }
}

lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')),
)
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(
  `${added.length} packages added${added.length > 0 ? `: ${added.join(', ')}` : ''}\n`,
)
