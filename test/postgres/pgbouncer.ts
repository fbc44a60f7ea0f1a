import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { isPresent } from '../../scripts/servers/present.ts'
import { watchdog } from '../../scripts/servers/watchdog.ts'
import { freePort } from './cluster.ts'

const BINARY = process.env['MERSAL_TEST_PGBOUNCER'] ?? '/usr/sbin/pgbouncer'

/**
 * Whether pgbouncer is on this machine; if not, says so loudly. It fails only where the run of
 * everything asks for it with MERSAL_TEST_REQUIRE_PGBOUNCER=true.
 */
export function pgbouncerAvailable(): boolean {
  const problem = `NO PGBOUNCER in ${BINARY} (apt-get install pgbouncer, or set MERSAL_TEST_PGBOUNCER)`
  const required = process.env['MERSAL_TEST_REQUIRE_PGBOUNCER'] === 'true'
  return isPresent(existsSync(BINARY) ? undefined : problem, required)
}

/** pgbouncer in front of a server, in transaction mode. */
export async function pgbouncer(
  serverUrl: string,
): Promise<{ readonly url: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'mersal-pgbouncer-'))
  await chmod(folder, 0o755)
  const target = new URL(serverUrl)
  const port = await freePort()
  const password = target.password === '' ? '' : ` password=${decodeURIComponent(target.password)}`
  await writeFile(
    join(folder, 'pgbouncer.ini'),
    `[databases]
* = host=${target.hostname} port=${target.port || '5432'} user=${target.username}${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
`,
  )
  const asRoot = process.getuid?.() === 0
  const child = spawn(
    BINARY,
    [...(asRoot ? ['-u', 'postgres'] : []), '-q', join(folder, 'pgbouncer.ini')],
    { stdio: 'ignore' },
  )
  const guard = watchdog({ pidFiles: [], signal: 'KILL', folders: [folder] })
  if (child.pid !== undefined) guard.watch(child.pid)
  const url = new URL(serverUrl)
  url.hostname = '127.0.0.1'
  url.port = String(port)
  await untilItAnswers(url.href, child)
  return {
    url: url.href,
    async [Symbol.asyncDispose]() {
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await exited
      await rm(folder, { recursive: true, force: true })
      await guard[Symbol.asyncDispose]()
    },
  }
}

async function untilItAnswers(url: string, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`pgbouncer ended with ${child.exitCode}`)
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 1000 })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
