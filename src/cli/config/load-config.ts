import { existsSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { toError } from '../../lib/async/abort.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { type CheckedConfig, checkConfig, type ConfigSource } from './config.ts'
import { configOfEnv, envHasStore } from './env-config.ts'
import { CommandError } from '../exit.ts'
import { oneLine } from '../../lib/one-line.ts'
import { withoutSecrets } from '../../lib/secrets.ts'
import { distrust } from './trusted-file.ts'

/** The configuration of this call, and what is made of it. */
export interface Loaded extends CheckedConfig {
  /** Where it came from: a file, or `the environment`. */
  readonly source: string
}

const namesOf = (stem: string): readonly string[] =>
  ['ts', 'mts', 'js', 'mjs'].map((ending) => `${stem}.${ending}`)
const names = namesOf('mersal.config')

/** What marks the root of a project. */
const marks = ['package.json', '.git']

/**
 * From this folder up to the root of the project: the nearest one with a mark, or the home. In no
 * project only the folder itself.
 */
function foldersUpToRoot(cwd: string): readonly string[] {
  const folders: string[] = []
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    folders.push(folder)
    if (folder === homedir() || marks.some((mark) => existsSync(join(folder, mark)))) return folders
    // Whoever may write above, such as into /tmp, must not decide what is run here.
    if (folder === dirname(folder)) return folders.slice(0, 1)
  }
}

/**
 * The nearest `mersal.config.*`, in the folder or above it, but not above the root of the project.
 */
export function findConfig(cwd: string): string | undefined {
  return findNearest('mersal.config', cwd)
}

/** As `findConfig`, for files of this name with any ending of a module. */
export function findNearest(stem: string, cwd: string): string | undefined {
  return foldersUpToRoot(cwd)
    .flatMap((folder) => namesOf(stem).map((name) => join(folder, name)))
    .find((path) => existsSync(path))
}

export interface LoadOptions {
  /** `--config`. */
  readonly path: string | undefined
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Told every text that may hold a secret. */
  readonly hide: (text: string) => void
}

/** A file that was named or found, else the environment. */
export async function loadConfig({ path, cwd, env, hide }: LoadOptions): Promise<Loaded> {
  const file = path === undefined ? findConfig(cwd) : resolve(cwd, path)
  if (file === undefined) {
    if (!envHasStore(env)) {
      throw new CommandError(
        `no configuration: there is no ${names[0]} (or .mts, .js, .mjs) here or above in the project, and DATABASE_URL is not set; 'mersal init' writes one`,
      )
    }
    return { ...checkConfig(await configOfEnv(env, cwd)), source: 'the environment' }
  }
  if (!existsSync(file)) throw new CommandError(`there is no file ${file}`)
  if (!statSync(file).isFile()) throw new CommandError(`${file} is no file: name the configuration`)
  // A file that was named is trusted.
  const doubt = path === undefined ? distrust(file) : undefined
  if (doubt !== undefined)
    throw new CommandError(
      `${file} was found and not run, since ${doubt}; if it is yours, name it: --config ${file}`,
    )
  // A password may stand in the file itself. Without the scheme: looking for its beginning takes
  // quadratic time in a long word.
  for (const [rest] of readFileSync(file, 'utf8').matchAll(/:\/\/[^\s'"`]+/g)) hide(`url${rest}`)
  return { ...checkConfig(await configIn(file)), source: file }
}

async function configIn(file: string): Promise<unknown> {
  let loaded: { readonly default?: ConfigSource }
  try {
    loaded = (await inTime(import(pathToFileURL(file).href))) as { readonly default?: ConfigSource }
  } catch (thrown) {
    throw new CommandError(`${file} cannot be loaded: ${explain(toError(thrown))}`)
  }
  if (loaded.default === undefined)
    throw new CommandError(
      `${file} has no default export; write: export default defineConfig({ … })`,
    )
  try {
    return typeof loaded.default === 'function' ? await inTime(loaded.default()) : loaded.default
  } catch (thrown) {
    throw new CommandError(`the function in ${file} failed: ${explain(toError(thrown))}`)
  }
}

/** A configuration may wait for a secret, but not for ever. */
const LONGEST_LOAD_MS = 30_000

/** Without a timer Node ends silently, with code 13, when nothing but a promise is left. */
async function inTime<Result>(loading: Result | Promise<Result>): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const text = `it waits for something that has not come within ${LONGEST_LOAD_MS / 1000} s`
  const timer = setTimeout(() => reject(new Error(text)), LONGEST_LOAD_MS)
  try {
    return await Promise.race([loading, late])
  } finally {
    clearTimeout(timer)
  }
}

function explain(error: Error): string {
  const { code } = error as { code?: unknown }
  const text = oneLine(withoutSecrets(error.message.split('\n')[0] ?? ''))
  if (code === 'ERR_MODULE_NOT_FOUND' && /'mersal/.test(text))
    return `${text}; install the package next to it: npm install mersal`
  if (code === 'ERR_MODULE_NOT_FOUND') return `${text}; install what it imports`
  return `${error.name}: ${text}`
}

/** A server that does not answer must not keep the program; it ends anyway. */
const LONGEST_CLOSE_MS = 3000

/** Closes what the configuration has opened; problems are told, since the work is done. */
export async function closeConfig(
  { config, served }: Loaded,
  told: (text: string) => void,
): Promise<void> {
  const transports = new Set(served.flatMap((one) => [...one.transports.values()]))
  const closeAll = async (closes: readonly (() => unknown)[]): Promise<void> => {
    const ends = await Promise.allSettled(
      closes.map(
        async (close) => await Promise.race([close(), systemClock.sleep(LONGEST_CLOSE_MS)]),
      ),
    )
    for (const end of ends)
      if (end.status === 'rejected') told(`closing failed: ${toError(end.reason).message}`)
  }
  await closeAll([...transports].map((part) => async () => part[Symbol.asyncDispose]()))
  await closeAll(
    served.map(
      ({ store }) =>
        async () =>
          store[Symbol.asyncDispose](),
    ),
  )
  if (config.close !== undefined) await closeAll([config.close])
}
