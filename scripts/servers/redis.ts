import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './postgres.ts'
import { findProgram, type ServerProgram, startServer } from './program.ts'
import type { ServerCommand } from './redis-8.ts'

const serverProgram = (environment: NodeJS.ProcessEnv): string | undefined =>
  findProgram('redis-server', environment, ['/usr/bin', '/usr/local/bin'])

/** What keeps a private Redis from running on this machine, or undefined. */
export function redisProblem(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  return serverProgram(environment) === undefined
    ? `no redis-server in PATH (${environment['PATH'] ?? ''}): apt-get install redis-server`
    : undefined
}

/** A whole server of its own, that may be killed, stopped, cut off and started again. */
export interface PrivateRedis extends ServerProgram {
  readonly url: string
  readonly port: number
  /** With the append-only file. */
  readonly folder: string
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
  /** Default: the `redis-server` of this machine. */
  readonly command?: ServerCommand
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

function commandHere(): ServerCommand {
  const program = serverProgram(process.env)
  if (program === undefined) throw new Error(redisProblem())
  return { program, args: [] }
}

export async function openPrivateRedis(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  const { program, args } = options.command ?? commandHere()
  const folder = mkdtempSync(join(tmpdir(), 'mersal-redis-'))
  const port = await freePort()
  const file = join(folder, 'redis.conf')
  writeFileSync(file, `${configLines(port, folder, options).join('\n')}\n`)
  const server = await startServer({
    name: 'redis-server',
    program,
    args: [...args, file, ...(options.sentinel === true ? ['--sentinel'] : [])],
    folder,
    answers: () => answers(port),
  })
  const { password } = options
  const login = password === undefined ? '' : `:${encodeURIComponent(password)}@`
  return { ...server, url: `redis://${login}127.0.0.1:${port}`, port, folder }
}
