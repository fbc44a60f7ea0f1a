import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { evaluate } from './erlang.ts'
import { freePort } from './postgres.ts'
import { reasonOf } from './reason.ts'
import { stoodStill } from './stopped.ts'
import { watchdog } from './watchdog.ts'

const run = promisify(execFile)
const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server'
/** The program itself: the one in the PATH refuses every user but root and that of the package. */
const CTL = '/usr/lib/rabbitmq/bin/rabbitmqctl'

/** One place on a broker that belongs to one user. */
export interface Place {
  readonly url: string
  readonly vhost: string
  /** Runs rabbitmqctl against the node of this place. */
  ctl(...args: readonly string[]): Promise<string>
}

/** What decides whether a private broker can run here. */
export interface Machine {
  readonly environment: NodeJS.ProcessEnv
  readonly isRoot: boolean
  readonly exists: (path: string) => boolean
}

const thisMachine: Machine = {
  environment: process.env,
  isRoot: userInfo().uid === 0,
  exists: existsSync,
}

/** What keeps a private broker from running on this machine, or undefined. */
export function brokerProblem({ environment, isRoot, exists } = thisMachine): string | undefined {
  if (!exists(SERVER)) return `no RabbitMQ programs: ${SERVER} does not exist`
  const folders = (environment['PATH'] ?? '').split(':')
  // The server does not run as root, so root hands it over to the user of the package.
  const needed = [...(exists(CTL) ? [] : ['rabbitmqctl']), ...(isRoot ? ['runuser'] : [])]
  const missing = needed.find((program) => !folders.some((folder) => exists(join(folder, program))))
  return missing === undefined
    ? undefined
    : `no ${missing} in PATH (${folders.join(':')}); it is often in /usr/sbin or /sbin`
}

/** A whole broker of its own, that may be killed, stopped, starved and started again. */
export interface PrivateBroker extends Place, AsyncDisposable {
  /** Evaluates an Erlang expression in the node: milliseconds, where `ctl` takes seconds. */
  evaluate(expression: string): Promise<string>
  start(): Promise<void>
  /**
   * Sends a signal to the server process. With SIGKILL it resolves when the process is gone, with
   * SIGSTOP when it stands still.
   */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Ends the server in good order. */
  stop(): Promise<void>
}

export interface BrokerOptions {
  /** Default true. With false there is only a place for a broker, and `start` is up to you. */
  readonly started?: boolean
  /** The only user. Default guest. */
  readonly user?: { readonly name: string; readonly password: string }
}

/** It takes seconds; this is for a machine that is much too busy. */
const START_MS = 600_000
const guest = { name: 'guest', password: 'guest' }

/** Resolves when the broker greets a client: it opens its port when everything else runs. */
async function greeted(port: number, server: ChildProcess): Promise<void> {
  for (const began = performance.now(); !(await greets(port)); await pause(25)) {
    if (server.exitCode !== null) throw new Error(`RabbitMQ ended with ${server.exitCode}`)
    if (performance.now() - began > START_MS)
      throw new Error(`RabbitMQ did not start within ${START_MS} ms`)
  }
}

/** Says who we are in AMQP 0-9-1, and whether the broker answers. */
async function greets(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('connect', () => socket.write('AMQP\0\0\x09\x01'))
  try {
    await once(socket, 'data', { signal: AbortSignal.timeout(5000) })
    return true
  } catch {
    return false // nobody listens yet
  } finally {
    socket.destroy()
  }
}

/** `config` are lines of rabbitmq.conf. */
export async function openPrivateBroker(
  config: readonly string[] = [],
  { started = true, user = guest }: BrokerOptions = {},
): Promise<PrivateBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-rabbit-'))
  const port = await freePort()
  const distribution = await freePort()
  const node = `mersal${process.pid}x${port}@localhost`
  const login = [`default_user = ${user.name}`, `default_pass = ${user.password}`]
  const lines = [`listeners.tcp.1 = 127.0.0.1:${port}`, ...login, ...config]
  writeFileSync(join(folder, 'rabbitmq.conf'), `${lines.join('\n')}\n`)
  writeFileSync(join(folder, 'plugins'), '[].\n')
  chmodSync(folder, 0o777)
  const guard = watchdog({ pidFiles: [join(folder, 'pid')], signal: 'KILL', folders: [folder] })
  const home = userInfo().uid === 0 ? '/var/lib/rabbitmq' : folder
  const environment = {
    PATH: process.env['PATH'] ?? '',
    RABBITMQ_NODENAME: node,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    // There Erlang keeps its cookie. The one of the package belongs to its user.
    HOME: home,
  }
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const asRabbit = (command: readonly string[]): readonly [string, string[]] =>
    userInfo().uid === 0
      ? ['runuser', ['-u', 'rabbitmq', '--', 'env', ...variables, ...command]]
      : ['env', [...variables, ...command]]
  const ctl = async (...args: readonly string[]): Promise<string> => {
    const [file, rest] = asRabbit([
      existsSync(CTL) ? CTL : 'rabbitmqctl',
      '-q',
      '-n',
      node,
      ...args,
    ])
    try {
      return (await run(file, rest, { cwd: folder })).stdout
    } catch (error) {
      throw new Error(`RabbitMQ: rabbitmqctl ${args[0] ?? ''} failed: ${reasonOf(error)}`, {
        cause: error,
      })
    }
  }
  const pid = (): number => Number(readFileSync(join(folder, 'pid'), 'utf8').trim())
  let ended: Promise<unknown> = Promise.resolve()
  let running = false
  const start = async (): Promise<void> => {
    rmSync(join(folder, 'pid'), { force: true })
    const [file, rest] = asRabbit([SERVER])
    // A group of its own: Ctrl+C at the terminal is for the program that started it.
    const child = spawn(file, rest, { cwd: folder, stdio: 'ignore', detached: true })
    ended = once(child, 'exit')
    if (child.pid !== undefined) guard.watch(-child.pid)
    running = true
    await greeted(port, child)
  }
  const signal = async (name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> => {
    process.kill(pid(), name)
    if (name === 'SIGSTOP') await stoodStill(pid())
    if (name !== 'SIGKILL') return
    running = false
    await ended
  }
  const asked = (expression: string): Promise<string> =>
    evaluate(expression, { address: ['-address', `localhost:${distribution}`], home, ctl })
  const stop = async (): Promise<void> => {
    await asked('spawn(fun rabbit:stop_and_halt/0)')
    running = false
    await ended
  }
  const end = async (): Promise<void> => {
    if (running && existsSync(join(folder, 'pid'))) await signal('SIGKILL').catch(() => {}) // it may have ended by itself
    rmSync(folder, { recursive: true, force: true })
    await guard[Symbol.asyncDispose]()
  }
  try {
    if (started) await start()
  } catch (error) {
    await end()
    throw error
  }
  return {
    url: `amqp://${user.name}:${user.password}@127.0.0.1:${port}/`,
    vhost: '/',
    ctl,
    evaluate: asked,
    start,
    signal,
    stop,
    [Symbol.asyncDispose]: end,
  }
}
