import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from './postgres.ts'
import { watchdog } from './watchdog.ts'

const LONGEST_START_MS = 30_000

function programNamed(name: string, environment: NodeJS.ProcessEnv): string | undefined {
  const folders = [...(environment['PATH'] ?? '').split(':'), '/usr/bin', '/usr/local/bin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/** What keeps a private Redis from running on this machine, or undefined. */
export function redisProblem(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  return programNamed('redis-server', environment) === undefined
    ? `no redis-server in PATH (${environment['PATH'] ?? ''}): apt-get install redis-server`
    : undefined
}

/** A whole server of its own, that may be killed, stopped, cut off and started again. */
export interface PrivateRedis extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** With the append-only file. */
  readonly folder: string
  start(): Promise<void>
  /** Sends a signal to the server process. With SIGKILL it resolves when the process is gone. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Ends the server in good order. */
  stop(): Promise<void>
}

export interface PrivateRedisOptions {
  /** Default `always`. `off`: nothing is kept. */
  readonly fsync?: 'always' | 'everysec' | 'no' | 'off'
  /** Default: none, and everybody may connect. */
  readonly password?: string
  /** Further lines of the configuration file. */
  readonly config?: readonly string[]
  /** Default: a server of data. */
  readonly sentinel?: boolean
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(1000) })
    socket.write('PING\r\n')
    const [data] = await once(socket, 'data', { signal: AbortSignal.timeout(1000) })
    // A server that reads its data says LOADING; one with a password says NOAUTH.
    return /^\+PONG|^-NOAUTH/.test(String(data))
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

function configLines(port: number, folder: string, options: PrivateRedisOptions): string[] {
  const { fsync = 'always', password, sentinel = false, config = [] } = options
  const ofData = [
    'save ""',
    `appendonly ${fsync === 'off' ? 'no' : 'yes'}`,
    ...(fsync === 'off' ? [] : [`appendfsync ${fsync}`]),
    'no-appendfsync-on-rewrite no',
    ...(password === undefined ? [] : [`requirepass "${password}"`]),
  ]
  return [
    'bind 127.0.0.1',
    `port ${port}`,
    `dir "${folder}"`,
    `logfile "${join(folder, 'log')}"`,
    ...(sentinel ? [] : ofData),
    ...config,
  ]
}

export async function openPrivateRedis(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  const program = programNamed('redis-server', process.env)
  if (program === undefined) throw new Error(redisProblem())
  const folder = mkdtempSync(join(tmpdir(), 'mersal-redis-'))
  const port = await freePort()
  const file = join(folder, 'redis.conf')
  writeFileSync(file, `${configLines(port, folder, options).join('\n')}\n`)
  const guard = watchdog({ pidFiles: [], signal: 'KILL', folders: [folder] })
  let server: { readonly pid: number; readonly ended: Promise<unknown> } | undefined
  const start = async (): Promise<void> => {
    const mode = options.sentinel === true ? ['--sentinel'] : []
    // A group of its own: Ctrl+C at the terminal is for the program that started it.
    const child = spawn(program, [file, ...mode], {
      cwd: folder,
      stdio: 'ignore',
      detached: true,
    })
    await once(child, 'spawn')
    const pid = child.pid as number
    guard.watch(pid)
    server = { pid, ended: once(child, 'exit') }
    const until = performance.now() + LONGEST_START_MS
    while (!(await answers(port))) {
      if (child.exitCode !== null || performance.now() > until)
        throw new Error(`redis-server does not start (exit code ${child.exitCode})`)
      await wait(20)
    }
  }
  const end = async (name: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    const current = server
    if (current === undefined) return
    server = undefined
    process.kill(current.pid, name)
    await current.ended
  }
  const dispose = async (): Promise<void> => {
    await end('SIGKILL').catch(() => {}) // it may have ended by itself
    rmSync(folder, { recursive: true, force: true })
    await guard[Symbol.asyncDispose]()
  }
  try {
    await start()
  } catch (error) {
    await dispose()
    throw error
  }
  const { password } = options
  const login = password === undefined ? '' : `:${encodeURIComponent(password)}@`
  return {
    url: `redis://${login}127.0.0.1:${port}`,
    port,
    folder,
    start,
    async signal(name) {
      if (name === 'SIGKILL') await end(name)
      else if (server !== undefined) process.kill(server.pid, name)
    },
    stop: () => end('SIGTERM'),
    [Symbol.asyncDispose]: dispose,
  }
}
