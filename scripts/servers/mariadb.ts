import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createConnection } from 'mysql2/promise'
import { freePort } from './postgres.ts'
import { reasonOf } from './reason.ts'
import { watchdog } from './watchdog.ts'

const execute = promisify(execFile)

const programs = {
  install: process.env['MERSAL_TEST_MARIADB_INSTALL'] ?? '/usr/bin/mariadb-install-db',
  server: process.env['MERSAL_TEST_MARIADB_SERVER'] ?? '/usr/sbin/mariadbd',
}

/** A MariaDB server of one's own, in a temporary folder, that may be killed. */
export interface PrivateMariadb extends AsyncDisposable {
  /** Its user `root` has no password. */
  readonly url: string
  readonly port: number
  readonly data: string
  /** SIGKILL (the page cache stays). */
  kill(): Promise<void>
  /** SIGSTOP: it stands still, until it is thawed. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** In good order. */
  stop(): Promise<void>
  /** Starts it again; resolves when it answers. */
  start(): Promise<void>
}

/** What keeps a private server from running on this machine, or undefined. */
export function mariadbProblem(): string | undefined {
  const missing = Object.values(programs).find((path) => !existsSync(path))
  return missing === undefined ? undefined : `no MariaDB program ${missing}`
}

async function run(file: string, args: readonly string[]): Promise<string> {
  try {
    return (await execute(file, args, { maxBuffer: 1024 * 1024 * 1024 })).stdout
  } catch (error) {
    throw new Error(`MariaDB: ${file} failed: ${reasonOf(error)}`, { cause: error })
  }
}

/** The server refuses to run as root; then the user of Debian's package does. */
async function userOfServer(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { stdout } = await execute('id', ['-u', 'mysql'])
  return stdout.trim()
}

async function answers(port: number): Promise<boolean> {
  try {
    const connection = await createConnection({
      host: '127.0.0.1',
      port,
      user: 'root',
      connectTimeout: 2000,
    })
    await connection.query('select 1')
    await connection.end()
    return true
  } catch {
    return false
  }
}

/** `settings`: further ones, as the command line has them. */
export async function privateMariadb(settings: readonly string[] = []): Promise<PrivateMariadb> {
  const folder = await mkdtemp(join(tmpdir(), 'mersal-mariadb-'))
  const data = join(folder, 'data')
  // A server that starts removes the temporary tables in its folder for them, whoever uses them.
  const temporary = join(folder, 'tmp')
  const pidFile = join(data, 'server.pid')
  const dog = watchdog({ pidFiles: [pidFile], signal: 'KILL', folders: [folder] })
  const uid = await userOfServer()
  for (const each of [data, temporary]) await mkdir(each)
  if (uid !== undefined)
    for (const each of [folder, data, temporary]) await chown(each, Number(uid), Number(uid))
  const user = uid === undefined ? [] : ['--user=mysql']
  await run(programs.install, [
    '--no-defaults',
    `--datadir=${data}`,
    `--tmpdir=${temporary}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    '--skip-name-resolve',
    ...user,
  ])
  const port = await freePort()
  let ended: Promise<unknown> = Promise.resolve()
  let hold: () => void = () => {}

  async function start(): Promise<void> {
    const child = spawn(
      programs.server,
      [
        '--no-defaults',
        `--datadir=${data}`,
        `--tmpdir=${temporary}`,
        `--port=${port}`,
        '--bind-address=127.0.0.1',
        `--socket=${join(data, 'server.sock')}`,
        `--pid-file=${pidFile}`,
        '--skip-name-resolve',
        '--skip-log-error',
        ...user,
        ...settings,
      ],
      { stdio: 'ignore' },
    )
    child.unref()
    hold = () => child.ref()
    if (child.pid !== undefined) dog.watch(child.pid)
    ended = new Promise((resolve) => child.once('exit', resolve))
    const late = performance.now() + 60_000
    while (!(await answers(port))) {
      if (performance.now() > late || child.exitCode !== null)
        throw new Error(`MariaDB does not answer on port ${port}: exit ${child.exitCode}`)
      await sleep(50)
    }
  }

  async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''))
    hold()
    if (pid > 0) process.kill(pid, signal)
    await ended
  }

  async function send(signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    process.kill(Number(await readFile(pidFile, 'utf8')), signal)
  }

  await start()
  return {
    url: `mysql://root@127.0.0.1:${port}`,
    port,
    data,
    kill: () => end('SIGKILL'),
    freeze: () => send('SIGSTOP'),
    thaw: () => send('SIGCONT'),
    stop: () => end('SIGTERM'),
    start,
    async [Symbol.asyncDispose]() {
      await end('SIGKILL').catch(() => {})
      await dog[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
