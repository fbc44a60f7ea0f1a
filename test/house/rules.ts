import type { Source } from './sources.ts'

/**
 * Who may import whom: a folder of `src`, and the folders (or files) that it may import besides
 * itself.
 */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'src/lib': [],
  'src/core': ['src/lib'],
  'src/contracts': ['src/core', 'src/lib'],
  'src/outbox': ['src/core', 'src/lib'],
  'src/sql': ['src/core', 'src/lib'],
  'src/stores': ['src/core', 'src/lib', 'src/sql'],
  'src/transports': [
    'src/core',
    'src/lib',
    'src/sql',
    'src/transports/shared',
    'src/transports/queues',
  ],
  'src/transports/shared': ['src/core', 'src/lib'],
  'src/transports/queues': ['src/core', 'src/lib', 'src/sql', 'src/transports/shared'],
  'src/app': ['src/core', 'src/lib', 'src/outbox', 'src/sql'],
  'src/http': ['src/core', 'src/lib', 'src/app', 'src/metrics'],
  'src/tenants': ['src/core', 'src/lib', 'src/app', 'src/outbox'],
  'src/fastify': ['src/core', 'src/lib', 'src/app', 'src/http', 'src/dashboard'],
  'src/testing': [
    'src/core',
    'src/lib',
    'src/app',
    'src/outbox',
    'src/stores/memory',
    'src/transports/memory',
  ],
  'src/prove': ['src/core', 'src/lib', 'src/app', 'src/operate', 'src/testing'],
  'src/nestjs': ['src/core', 'src/lib', 'src/app'],
  'src/metrics': ['src/core', 'src/lib', 'src/app'],
  'src/otel': ['src/core', 'src/lib', 'src/app', 'src/metrics'],
  'src/operate': ['src/core', 'src/lib'],
  'src/dashboard': [
    'src/core',
    'src/lib',
    'src/app',
    'src/outbox',
    'src/metrics',
    'src/operate',
    'src/http',
  ],
  'src/cli': [
    'src/operate',
    'src/prove',
    'src/dashboard',
    'src/core',
    'src/lib',
    'src/app',
    'src/outbox',
    'src/metrics',
    'src/sql',
    'src/stores',
    'src/transports',
  ],
}

/** Faces: files directly in `src`, which only re-export. */
const faces: Readonly<Record<string, readonly string[]>> = {
  'src/index.ts': ['src/core', 'src/lib', 'src/app', 'src/outbox', 'src/sql'],
  'src/http.ts': ['src/http'],
  'src/nestjs.ts': ['src/nestjs'],
  'src/otel.ts': ['src/otel'],
  'src/documents.ts': ['src/core', 'src/lib', 'src/app'],
}
const adapterFaces = ['src/core', 'src/lib', 'src/sql', 'src/stores', 'src/transports']

/** Packages that an adapter may load, in its own folder only. */
const clients: Readonly<Record<string, readonly string[]>> = {
  'src/nestjs': ['@nestjs/common', '@nestjs/core'],
  'src/otel': ['@opentelemetry/api'],
  'src/stores/sqlite': ['better-sqlite3'],
  'src/stores/postgres': ['pg', 'pg-logical-replication'],
  'src/transports/kafka': ['@platformatic/kafka'],
  'src/transports/nats': ['@nats-io/jetstream', '@nats-io/transport-node'],
  'src/transports/rabbitmq': ['amqplib'],
  'src/transports/redis': ['@redis/client'],
}

/** Every folder and file that a rule names. */
export const namedPlaces: readonly string[] = [
  ...Object.entries(mayImport).flatMap(([folder, others]) => [folder, ...others]),
  ...Object.keys(faces),
  ...Object.keys(clients),
]

/**
 * A store or a transport is its own folder, or its own file: `src/stores/sqlite`,
 * `src/stores/memory`.
 */
export function folderOf(path: string): string {
  const [, first, second, third] = path.split('/')
  if (second === undefined) return path
  if (first !== 'stores' && first !== 'transports') return `src/${first}`
  return third === undefined
    ? `src/${first}/${second.replace(/\.ts$/, '')}`
    : `src/${first}/${second}`
}

const within = (path: string, allowed: string): boolean =>
  path === allowed || path === `${allowed}.ts` || path.startsWith(`${allowed}/`)

/** The places that this file may import besides its own folder; undefined when no rule names it. */
export function allowedFor(path: string): readonly string[] | undefined {
  const folder = folderOf(path)
  if (folder === path) return faces[path] ?? adapterFaces
  return mayImport[folder] ?? mayImport[folder.split('/').slice(0, 2).join('/')]
}

/** Imports of our own that the rules do not allow. */
export function forbiddenImports(source: Source): string[] {
  const allowed = allowedFor(source.path)
  if (allowed === undefined)
    return [
      `${source.path}: no rule says what this folder may import; add one to test/house/rules.ts`,
    ]
  const own = folderOf(source.path)
  return source.imports
    .filter(
      ({ target }) =>
        target !== undefined && ![own, ...allowed].some((folder) => within(target, folder)),
    )
    .map(({ target }) => `${source.path} imports ${target}`)
}

/** Packages that are loaded, or named in a type, outside the folder of their adapter. */
export function foreignPackages(source: Source): string[] {
  const allowed = clients[folderOf(source.path)] ?? []
  const name = (specifier: string): string =>
    specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/')
  return source.imports
    .filter(
      ({ specifier, target }) =>
        target === undefined &&
        !specifier.startsWith('node:') &&
        !allowed.includes(name(specifier)),
    )
    .map(({ specifier }) => `${source.path} imports the package ${specifier}`)
}

/** What reads the clock, waits or rolls dice behind the back of the ports. */
export const hiddenWorld =
  /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bset(?:Timeout|Interval|Immediate)\b|\bMath\.random\b|\brandomUUID\b|\bAbortSignal\.timeout\b/
export const portedFolders: readonly string[] = ['src/outbox', 'src/app']
