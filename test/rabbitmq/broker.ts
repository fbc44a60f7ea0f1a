import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectSocket, createServer } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** One place on a broker that belongs to one test file. */
export interface Place {
  readonly url: string
  readonly vhost: string
  /** Runs rabbitmqctl against the node of this place. */
  ctl(...args: readonly string[]): Promise<string>
}

function canConnect(port: number): Promise<boolean> {
  const socket = connectSocket({ host: '127.0.0.1', port })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

async function hasTools(): Promise<boolean> {
  try {
    await run('rabbitmqctl', ['version'])
    return true
  } catch {
    return false
  }
}

/** False, said loudly, when there is no RabbitMQ here; with CI=true that is a failure instead. */
export async function rabbitIsHere(): Promise<boolean> {
  if ((await canConnect(5672)) && (await hasTools())) return true
  const text = 'RabbitMQ at 127.0.0.1:5672 and rabbitmqctl are needed for these tests, and are not here'
  if (process.env['CI'] === 'true') throw new Error(text)
  process.stderr.write(`\nSKIPPED: ${text}\n`)
  return false
}

/** A vhost of its own on the broker of this machine; disposing removes it with all that is in it. */
export async function openVhost(): Promise<Place & AsyncDisposable> {
  const vhost = `mersal-${process.pid}-${Date.now()}`
  const ctl = async (...args: readonly string[]): Promise<string> => (await run('rabbitmqctl', ['-q', ...args])).stdout
  await ctl('add_vhost', vhost)
  await ctl('set_permissions', '-p', vhost, 'guest', '.*', '.*', '.*')
  return {
    url: `amqp://guest:guest@127.0.0.1:5672/${vhost}`,
    vhost,
    ctl,
    [Symbol.asyncDispose]: async () => {
      await ctl('delete_vhost', vhost)
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** A whole broker of its own, that may be killed, stopped, starved and started again. */
export interface PrivateBroker extends Place, AsyncDisposable {
  start(): Promise<void>
  /** Sends a signal to the server process. With SIGKILL it resolves when the process is gone. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Ends the server in good order. */
  stop(): Promise<void>
}

/** `config` are lines of rabbitmq.conf. */
export async function openPrivateBroker(config: readonly string[] = []): Promise<PrivateBroker> {
  const folder = mkdtempSync('/tmp/mersal-rabbit-')
  const port = await freePort()
  const distribution = await freePort()
  const node = `mersal${process.pid}x${port}@localhost`
  const lines = [`listeners.tcp.1 = 127.0.0.1:${port}`, ...config]
  writeFileSync(join(folder, 'rabbitmq.conf'), `${lines.join('\n')}\n`)
  writeFileSync(join(folder, 'plugins'), '[].\n')
  chmodSync(folder, 0o777)
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
    HOME: '/var/lib/rabbitmq',
  }
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const asRabbit = (command: readonly string[]): readonly [string, string[]] =>
    userInfo().uid === 0 ? ['runuser', ['-u', 'rabbitmq', '--', 'env', ...variables, ...command]] : ['env', [...variables, ...command]]
  const ctl = async (...args: readonly string[]): Promise<string> => {
    const [file, rest] = asRabbit(['rabbitmqctl', '-q', '-n', node, ...args])
    return (await run(file, rest, { cwd: folder })).stdout
  }
  const pid = (): number => Number(readFileSync(join(folder, 'pid'), 'utf8').trim())
  let ended: Promise<unknown> = Promise.resolve()
  let running = false
  const start = async (): Promise<void> => {
    rmSync(join(folder, 'pid'), { force: true })
    const [file, rest] = asRabbit(['/usr/lib/rabbitmq/bin/rabbitmq-server'])
    const child = spawn(file, rest, { cwd: folder, stdio: 'ignore' })
    ended = once(child, 'exit')
    running = true
    await ctl('wait', '--timeout', '60', join(folder, 'pid'))
    await ctl('await_startup')
  }
  const signal = async (name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> => {
    process.kill(pid(), name)
    if (name !== 'SIGKILL') return
    running = false
    await ended
  }
  const stop = async (): Promise<void> => {
    await ctl('stop', join(folder, 'pid'))
    running = false
    await ended
  }
  await start()
  return {
    url: `amqp://guest:guest@127.0.0.1:${port}/`,
    vhost: '/',
    ctl,
    start,
    signal,
    stop,
    [Symbol.asyncDispose]: async () => {
      if (running) await signal('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
