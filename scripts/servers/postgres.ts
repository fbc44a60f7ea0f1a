import { execFile, type ExecFileOptions } from 'node:child_process'
import { existsSync } from 'node:fs'
import {
  appendFile,
  chmod,
  chown,
  mkdtemp,
  readdir,
  readFile,
  rm,
  writeFile,
} from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { reasonOf } from './reason.ts'
import { fromTemplate } from './template.ts'
import { watchdog } from './watchdog.ts'

const execute = promisify(execFile)

/** As `execFile`; the error says what the program said. */
async function run(
  file: string,
  args: readonly string[],
  options: ExecFileOptions = {},
): Promise<{ stdout: string }> {
  try {
    return { stdout: String((await execute(file, args, options)).stdout) }
  } catch (error) {
    throw new Error(`PostgreSQL: ${basename(file)} failed: ${reasonOf(error)}`, { cause: error })
  }
}

export const programsOfPostgres: string =
  process.env['MERSAL_TEST_POSTGRES_BIN'] ?? '/usr/lib/postgresql/15/bin'

/** A PostgreSQL server of one's own, in a temporary folder, that may be killed. */
export interface PrivateCluster extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /**
   * SIGKILL to the postmaster and to every process of it, as if the machine had lost its power (the
   * page cache stays).
   */
  kill(): Promise<void>
  /** Starts it again; resolves when it answers. */
  start(): Promise<void>
  /** Stops the process that writes asynchronous commits to the disk, until the next start. */
  holdWalWriter(): Promise<void>
  /** Whether its first process is there. */
  running(): Promise<boolean>
  /** What the server has written to its log. */
  log(): Promise<string>
}

export interface ClusterPlace {
  /** Folder of `initdb`, `postgres` and `pg_ctl`. */
  readonly programs?: string
  /**
   * Folders that exist, are empty and get the data, and the log of writes; by default made in a
   * temporary folder.
   */
  readonly data?: string
  readonly wal?: string
  /**
   * Address of a server; the new one is its standby, read-only until it is promoted. Its settings
   * are copied too.
   */
  readonly standbyOf?: string
  /** More options of `initdb`. */
  readonly init?: readonly string[]
  /** Further folders that go when the process that started the server has ended. */
  readonly remove?: readonly string[]
  /** Further variables of its environment. */
  readonly environment?: Readonly<Record<string, string>>
}

/** What keeps a private server from running on this machine, or undefined. */
export function clusterProblem(): string | undefined {
  return existsSync(join(programsOfPostgres, 'initdb'))
    ? undefined
    : `no PostgreSQL programs in ${programsOfPostgres} (set MERSAL_TEST_POSTGRES_BIN)`
}

/** The server refuses to run as root; then the user of Debian's package does, or else `nobody`. */
async function userOfServer(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { stdout } = await run('id', ['postgres']).catch(() => run('id', ['nobody']))
  return { uid: Number(/uid=(\d+)/.exec(stdout)?.[1]), gid: Number(/gid=(\d+)/.exec(stdout)?.[1]) }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid)
      children.push(Number(name))
  }
  return children
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A process may end by itself between the look and the kill. */
function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.end()
    return true
  } catch {
    return false
  }
}

/**
 * Whether a commit can be flushed. It cannot if the WAL writer was stopped while it held the lock
 * of the log; then it is let go, so that this commit ends as well.
 */
async function flushes(url: string, letGo: () => void): Promise<boolean> {
  const client = new Client({ connectionString: url })
  await client.connect()
  let held = false
  const timer = setTimeout(() => {
    held = true
    letGo()
  }, 3000)
  await client.query(`select pg_logical_emit_message(true, 'mersal test', '')`)
  clearTimeout(timer)
  await client.end()
  return !held
}

async function versionOf(programs: string): Promise<string> {
  return (await run(join(programs, 'postgres'), ['--version'])).stdout.trim()
}

/** `settings`: lines for its configuration. */
export async function privateCluster(
  settings: Readonly<Record<string, string>> = {},
  place: ClusterPlace = {},
): Promise<PrivateCluster> {
  const { programs = programsOfPostgres, init = [], remove = [], environment = {} } = place
  const folder = await mkdtemp(join(tmpdir(), 'mersal-postgres-'))
  const user = await userOfServer()
  await chmod(folder, 0o755)
  const data = place.data ?? join(folder, 'data')
  const guard = watchdog({
    pidFiles: [join(data, 'postmaster.pid')],
    signal: 'QUIT',
    folders: [folder, ...remove],
  })
  for (const each of [folder, place.data, place.wal]) {
    if (user !== undefined && each !== undefined) await chown(each, user.uid, user.gid)
  }
  const wal = place.wal === undefined ? [] : ['-X', place.wal]
  const options = { ...user, cwd: folder }
  const port = await freePort()
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const ways = ['-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C']
  const { standbyOf } = place
  if (standbyOf === undefined) {
    const initialise = async (): Promise<void> => {
      await run(join(programs, 'initdb'), ['-D', data, ...wal, ...ways, ...init], options)
    }
    // A folder that is there already, and a log of writes elsewhere, cannot be copied to.
    if (place.data !== undefined || place.wal !== undefined) await initialise()
    else
      await fromTemplate(data, {
        key: [await versionOf(programs), ...ways, ...init, String(user?.uid)],
        make: initialise,
        copy: (from, to) => run('cp', ['-a', from, to]),
      })
    await appendFile(join(data, 'postgresql.conf'), "include 'mersal.conf'\n")
  } else
    await run(
      join(programs, 'pg_basebackup'),
      ['-D', data, '-R', '-c', 'fast', '-X', 'stream', '-d', standbyOf],
      options,
    )
  const lines = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: folder,
    max_connections: '50',
    ...settings,
  }
  const text = Object.entries(lines).map(([name, value]) => `${name} = '${value}'\n`)
  await writeFile(join(data, 'mersal.conf'), text)

  async function start(): Promise<void> {
    // After a kill, the shared memory is free only when the last process has gone; until then the
    // start fails.
    for (let tries = 0; ; tries++) {
      try {
        await run(
          join(programs, 'pg_ctl'),
          ['-D', data, '-w', '-t', '30', '-l', join(folder, 'log'), 'start'],
          {
            ...options,
            env: { ...process.env, ...environment },
          },
        )
        break
      } catch (error) {
        if (tries >= 10) throw error
      }
    }
    while (!(await answers(url)));
  }

  async function kill(): Promise<void> {
    const pid = Number((await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')[0])
    // Stopped first, so that it starts no new process while its children are looked up.
    process.kill(pid, 'SIGSTOP')
    const pids = [...(await childrenOf(pid)), pid]
    for (const one of pids) killIfAlive(one)
    while (pids.some(alive)) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  async function walWriter(): Promise<number> {
    const pid = Number((await readFile(join(data, 'postmaster.pid'), 'utf8')).split('\n')[0])
    for (const child of await childrenOf(pid)) {
      if ((await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '')).includes('walwriter'))
        return child
    }
    throw new Error('this server has no WAL writer')
  }

  async function holdWalWriter(): Promise<void> {
    const pid = await walWriter()
    for (;;) {
      process.kill(pid, 'SIGSTOP')
      if (await flushes(url, () => process.kill(pid, 'SIGCONT'))) return
    }
  }

  await start()
  return {
    url,
    port,
    kill,
    start,
    holdWalWriter,
    async running() {
      const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')
      return text !== '' && alive(Number(text.split('\n')[0]))
    },
    log: () => readFile(join(folder, 'log'), 'utf8'),
    async [Symbol.asyncDispose]() {
      await run(
        join(programs, 'pg_ctl'),
        ['-D', data, '-w', '-m', 'immediate', 'stop'],
        options,
      ).catch(() => {})
      await rm(folder, { recursive: true, force: true })
      await guard[Symbol.asyncDispose]()
    },
  }
}
