import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { program, sqliteConfig } from '../cli/project.ts'
import type { Trial, Verdict } from './input.ts'
import { canaries, checkPrototypes, hear } from './soundness.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const SECRET = canaries.variable

interface Call {
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Text of mersal.config.ts; default: a store and a queue in SQLite files. */
  readonly config?: string
  readonly files?: Readonly<Record<string, string>>
  /** 0: it works. 1 and 2: it says clearly why not. */
  readonly code: 0 | 1 | 2
  readonly says?: RegExp
  readonly prepare?: (folder: string) => void
  /** Reads nothing of what it prints. */
  readonly deaf?: boolean
}

const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
/** Longer than any call needs on a loaded machine, shorter than what a quadratic search takes. */
const TIME_LIMIT_MS = 30_000

/**
 * The real program in a process of its own: it ends in time, with its code, and prints nothing that
 * is unsafe or secret.
 */
async function call({
  args,
  env = {},
  config = sqliteConfig(),
  files = {},
  code,
  says,
  prepare,
  deaf = false,
}: Call): Promise<Verdict> {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tmp/inputs-'))
  try {
    if (config !== '') writeFileSync(join(folder, 'mersal.config.ts'), config)
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    prepare?.(folder)
    const clean = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/_URL$|^NODE_OPTIONS$|^VITEST/.test(name)),
    )
    const child = spawn(process.execPath, [program, ...args], {
      cwd: folder,
      env: { ...clean, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIME_LIMIT_MS,
      killSignal: 'SIGKILL',
    })
    let text = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (part: string) => void (text += part))
    if (deaf) child.stdout.destroy()
    const [ended] = (await once(child, 'close')) as [number | null]
    hear(text)
    if (ended !== code)
      throw new Error(
        `ended with ${ended ?? 'a signal'} in place of ${code}: ${text.slice(0, 1000)}`,
      )
    if (/\n\s+at .*:\d+:\d+/.test(text)) throw new Error(`printed a stack: ${text.slice(0, 1000)}`)
    const unsafe = text.split('\n').find((line) => UNSAFE.test(line))
    if (unsafe !== undefined) throw new Error(`printed ${JSON.stringify(unsafe)}`)
    if (says !== undefined && !says.test(text))
      throw new Error(`did not say ${String(says)}: ${text.slice(0, 1000)}`)
    checkPrototypes()
    return code === 0 ? 'round trip' : 'refused'
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const url = `postgres://u:${SECRET}@127.0.0.1:1/db`
const withMigrated = { files: {}, args: ['migrate'] } as const

const calls: Readonly<Record<string, Call>> = {
  'a verb with escape sequences': { args: ['\u001b]0;owned\u0007status\r\n'], code: 2 },
  'the verb __proto__': { args: ['__proto__'], code: 2, says: /no verb/ },
  'the verb constructor': { args: ['constructor'], code: 2, says: /no verb/ },
  'an option that does not exist, with a secret': {
    args: ['status', `--pasword=${SECRET}`],
    code: 2,
    says: /no option/,
  },
  'the option __proto__': {
    args: ['dead', 'list', '--__proto__=1', '--constructor=2'],
    code: 2,
    says: /no option/,
  },
  'a URL among the arguments': { args: ['status', url], code: 2 },
  'options after --': { args: ['dead', 'discard', '--all', '--', '--yes'], code: 2 },
  'a number that is none': {
    args: ['dead', 'list', '--limit', '１'],
    code: 2,
    says: /whole number/,
  },
  'a number beyond all': { args: ['dead', 'list', '--limit', '9'.repeat(400)], code: 2 },
  'discarding everything without a terminal': {
    ...withMigrated,
    args: ['dead', 'discard', '--all'],
    code: 1,
  },
  'a configuration that is a folder': { args: ['status', '--config', '.'], code: 1 },
  'a configuration that throws on reading': {
    args: ['status'],
    config: `export default { get store() { throw new Error('${url}') } }`,
    code: 1,
  },
  'a configuration with another prototype': {
    args: ['status'],
    config: `export default JSON.parse('{"__proto__": {"store": {}}, "store": {}}')`,
    code: 1,
    says: /config/,
  },
  'a configuration function that fails with a URL': {
    args: ['status'],
    config: `export default async () => { throw new Error('cannot reach ${url}', { cause: new Error('${SECRET}') }) }`,
    code: 1,
  },
  'a configuration whose promise nobody waits for': {
    args: ['status'],
    config: `void Promise.reject(Object.assign(new Error('no ${url}'), { input: '${url}' })); export default new Promise(() => {})`,
    code: 1,
  },
  'a configuration with 300,000 digits in one word': {
    args: ['migrate'],
    config: `${sqliteConfig()}\nexport const certificate = '${'0a'.repeat(150_000)}'`,
    code: 0,
  },
  'a configuration behind a link': {
    args: ['migrate', '--config', 'linked.ts'],
    prepare: (folder) => symlinkSync('mersal.config.ts', join(folder, 'linked.ts')),
    code: 0,
  },
  'a schema with quotes in the environment': {
    args: ['status'],
    config: '',
    env: { DATABASE_URL: url, MERSAL_SCHEMA: 'a"; drop schema public; --' },
    code: 1,
    says: /schema/,
  },
  'a database that does not answer': {
    args: ['status'],
    config: '',
    env: { DATABASE_URL: url },
    code: 1,
  },
  'a database of another kind': {
    args: ['status'],
    config: '',
    env: { DATABASE_URL: `mysql://u:${SECRET}@h/db` },
    code: 1,
  },
  'an environment file that is missing': {
    args: ['status', '--env', `./${'x'.repeat(200)}`],
    code: 1,
  },
  'an environment file with secrets': {
    args: ['status', '--env', 'secrets'],
    config: '',
    files: { secrets: `DATABASE_URL=${url}\nAPP_TOKEN=${SECRET}\n__proto__=x\n` },
    code: 1,
  },
  'a reader that has gone': { args: ['--help'], deaf: true, code: 0 },
  'NODE_OPTIONS that harden Node': {
    args: ['migrate'],
    env: { NODE_OPTIONS: '--disable-proto=throw --disallow-code-generation-from-strings' },
    code: 0,
  },
}

export const programs: readonly Trial[] = Object.entries(calls).map(([name, given]) => ({
  name,
  on: ({ adapter }) => adapter === 'memory',
  run: () => call(given),
}))
