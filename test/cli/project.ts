import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = resolve(fileURLToPath(new URL('../..', import.meta.url)))
/** Bundled once for a run of all tests (test/run/programs.ts): programs start in half the time. */
const built = process.env['MERSAL_TEST_PROGRAMS']

/** A file of the sources, or what was made of it. */
function ours(path: string): string {
  return built === undefined ? join(root, 'src', path) : join(built, path.replace(/\.ts$/, '.js'))
}

/** The file of the program `mersal`. */
export const program: string = ours('cli/main.ts')

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

type Env = Readonly<Record<string, string>>

/** A folder of its own with a configuration, and the real program run in it. */
export interface Project extends AsyncDisposable {
  readonly folder: string
  readonly file: (name: string) => string
  readonly write: (name: string, text: string) => void
  /** `mersal ARGS…`; resolves when it has ended. */
  readonly mersal: (args: readonly string[], env?: Env) => Promise<Ended>
  /** `mersal ARGS…` that goes on running. */
  readonly start: (args: readonly string[], env?: Env) => Running
}

export interface Running {
  readonly child: ChildProcess
  /** Resolves with the first match in its output; rejects if it ends before. */
  readonly says: (pattern: RegExp) => Promise<RegExpExecArray>
  readonly ended: Promise<Ended>
  /** Sends the signal and waits for its end. */
  readonly signal: (name: NodeJS.Signals) => Promise<Ended>
}

/** Names in `import … from` of a configuration: the sources in place of the package. */
export function sourceUrl(path: string): string {
  return pathToFileURL(ours(path)).href
}

/** A program of Node in this folder, whose environment names no server but those of `env`. */
export function launch(folder: string, args: readonly string[], env: Env): Running {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/_URL$|^NODE_OPTIONS$|^VITEST/.test(name)),
  )
  const child = spawn(process.execPath, ['--no-warnings', ...args], {
    cwd: folder,
    env: { ...clean, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const texts = { stdout: '', stderr: '' }
  const lookers = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text
      for (const look of lookers) look()
    })
  }
  const ended = (async (): Promise<Ended> => {
    const [code] = (await once(child, 'close')) as [number | null]
    for (const look of lookers) look()
    return { code, ...texts }
  })()
  const says = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((found, failed) => {
      const look = (): void => {
        const match = pattern.exec(texts.stdout) ?? pattern.exec(texts.stderr)
        if (match !== null) found(match)
        else if (child.exitCode !== null || child.signalCode !== null)
          failed(
            new Error(
              `it ended without saying ${String(pattern)}:\n${texts.stdout}${texts.stderr}`,
            ),
          )
        else return
        lookers.delete(look)
      }
      lookers.add(look)
      look()
    })
  const signal = async (name: NodeJS.Signals): Promise<Ended> => {
    child.kill(name)
    return await ended
  }
  return { child, says, ended, signal }
}

/**
 * `config` is the text of mersal.config.ts, if any. `within`: the folder in which that of the
 * project is made.
 */
export function openProject(config?: string, within = join(root, '.tmp')): Project {
  mkdirSync(within, { recursive: true })
  const folder = mkdtempSync(join(within, 'cli-'))
  const file = (name: string): string => join(folder, name)
  const running = new Set<Running>()
  const start = (args: readonly string[], env: Env = {}): Running => {
    const one = launch(folder, [program, ...args], env)
    running.add(one)
    void one.ended.finally(() => running.delete(one))
    return one
  }
  if (config !== undefined) writeFileSync(file('mersal.config.ts'), config)
  return {
    folder,
    file,
    write: (name, text) => writeFileSync(file(name), text),
    start,
    mersal: (args, env) => start(args, env).ended,
    [Symbol.asyncDispose]: async () => {
      for (const { signal } of running) await signal('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** SQLite store and queue in files of the project. */
export function sqliteConfig(store = '', further = ''): string {
  return `
import { defineConfig } from '${sourceUrl('cli/index.ts')}'
import { sqlite, sqliteQueue } from '${sourceUrl('sqlite.ts')}'
export default defineConfig({
  store: sqlite({ path: 'store.db', ${store} }),
  transport: sqliteQueue({ path: 'queue.db' }),
  ${further}
})`
}

/** PostgreSQL store in a schema, queue in an SQLite file. */
/** `url`: with the database. */
export function mysqlConfig(url: string, store = '', further = ''): string {
  return `
import { createPool } from 'mysql2/promise'
import { defineConfig } from '${sourceUrl('cli/index.ts')}'
import { mysql } from '${sourceUrl('mysql.ts')}'
import { sqliteQueue } from '${sourceUrl('sqlite.ts')}'
const pool = createPool('${url}')
export default defineConfig(() => ({
  store: mysql({ pool, ${store} }),
  transport: sqliteQueue({ path: 'queue.db' }),
  close: () => pool.end(),
  ${further}
}))`
}

export function postgresConfig(url: string, schema: string, store = '', further = ''): string {
  return `
import { Pool } from 'pg'
import { defineConfig } from '${sourceUrl('cli/index.ts')}'
import { postgres } from '${sourceUrl('postgres.ts')}'
import { sqliteQueue } from '${sourceUrl('sqlite.ts')}'
const pool = new Pool({ connectionString: '${url}' })
export default defineConfig(() => ({
  store: postgres({ pool, schema: '${schema}', ${store} }),
  transport: sqliteQueue({ path: 'queue.db' }),
  close: () => pool.end(),
  ${further}
}))`
}
