import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './postgres.ts'
import { findProgram, type ServerProgram, startServer } from './program.ts'

/** Where the server program is, or undefined. Debian puts it where only root looks. */
const serverProgram = (environment: NodeJS.ProcessEnv): string | undefined =>
  findProgram('nats-server', environment, ['/usr/sbin', '/usr/local/sbin'])

/** What keeps a private NATS server from running on this machine, or undefined. */
export function natsProblem(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  return serverProgram(environment) === undefined
    ? `no nats-server in PATH (${environment['PATH'] ?? ''}) nor in /usr/sbin: apt-get install nats-server`
    : undefined
}

/** A whole server of its own, that may be killed, stopped, cut off and started again. */
export interface PrivateNats extends ServerProgram {
  readonly url: string
  readonly port: number
  /** Where JetStream keeps its streams. */
  readonly store: string
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
  const server = await startServer({
    name: 'nats-server',
    program,
    args: ['-c', join(folder, 'nats.conf')],
    folder,
    answers: () => answers(port),
  })
  const login = user === undefined ? '' : `${user.name}:${encodeURIComponent(user.password)}@`
  return { ...server, url: `nats://${login}127.0.0.1:${port}`, port, store }
}
