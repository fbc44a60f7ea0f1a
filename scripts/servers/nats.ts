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

/** Where the server program is, or undefined. */
function serverProgram(environment: NodeJS.ProcessEnv): string | undefined {
  // Debian puts it where only root looks.
  const folders = [...(environment['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, 'nats-server')).find((path) => existsSync(path))
}

/** What keeps a private NATS server from running on this machine, or undefined. */
export function natsProblem(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  return serverProgram(environment) === undefined
    ? `no nats-server in PATH (${environment['PATH'] ?? ''}) nor in /usr/sbin: apt-get install nats-server`
    : undefined
}

/** A whole server of its own, that may be killed, stopped, cut off and started again. */
export interface PrivateNats extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Where JetStream keeps its streams. */
  readonly store: string
  start(): Promise<void>
  /** Sends a signal to the server process. With SIGKILL it resolves when the process is gone. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Ends the server in good order. */
  stop(): Promise<void>
}

export interface NatsOptions {
  /** Further lines of the configuration file. */
  readonly config?: readonly string[]
  /** Default true. */
  readonly jetStream?: boolean
  /** Default: none, and everybody may connect. */
  readonly user?: { readonly name: string; readonly password: string }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    // The first word of a server that is ready.
    await once(socket, 'data', { signal: AbortSignal.timeout(1000) })
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

export async function openPrivateNats(options: NatsOptions = {}): Promise<PrivateNats> {
  const program = serverProgram(process.env)
  if (program === undefined) throw new Error(natsProblem())
  const folder = mkdtempSync(join(tmpdir(), 'mersal-nats-'))
  const port = await freePort()
  const store = join(folder, 'store')
  const { user, jetStream = true, config = [] } = options
  const lines = [
    `listen: "127.0.0.1:${port}"`,
    `pid_file: ${JSON.stringify(join(folder, 'pid'))}`,
    `log_file: ${JSON.stringify(join(folder, 'log'))}`,
    ...(jetStream ? [`jetstream { store_dir: ${JSON.stringify(store)} }`] : []),
    ...(user === undefined
      ? []
      : [`authorization { user: ${user.name}, password: ${JSON.stringify(user.password)} }`]),
    ...config,
  ]
  writeFileSync(join(folder, 'nats.conf'), `${lines.join('\n')}\n`)
  const guard = watchdog({ pidFiles: [], signal: 'KILL', folders: [folder] })
  let server: { readonly pid: number; readonly ended: Promise<unknown> } | undefined
  const start = async (): Promise<void> => {
    // A group of its own: Ctrl+C at the terminal is for the program that started it.
    const child = spawn(program, ['-c', join(folder, 'nats.conf')], {
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
        throw new Error(`nats-server does not start (exit code ${child.exitCode})`)
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
  const login = user === undefined ? '' : `${user.name}:${encodeURIComponent(user.password)}@`
  return {
    url: `nats://${login}127.0.0.1:${port}`,
    port,
    store,
    start,
    async signal(name) {
      if (name === 'SIGKILL') await end(name)
      else if (server !== undefined) process.kill(server.pid, name)
    },
    stop: () => end('SIGTERM'),
    [Symbol.asyncDispose]: dispose,
  }
}
