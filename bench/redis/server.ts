import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../../scripts/servers/postgres.ts'
import type { BenchServer } from '../server.ts'
import { temporaryFolder } from '../sqlite/folder.ts'

const PATIENCE_MS = 10_000

/**
 * A Redis with a log of changes. `everysec` is what BullMQ advises where jobs matter, `always` what
 * docs/redis.md does. Undefined where there is no `redis-server`.
 */
export async function startRedis(
  stack: AsyncDisposableStack,
  fsync: 'everysec' | 'always',
): Promise<BenchServer | undefined> {
  const version = await promisify(execFile)('redis-server', ['--version']).catch(() => undefined)
  if (version === undefined) return undefined
  const folder = stack.use(temporaryFolder())
  const port = await freePort()
  const options = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder.path,
    '--save',
    '',
    '--appendonly',
    'yes',
    '--appendfsync',
    fsync,
  ]
  const child = spawn('redis-server', options, { stdio: 'ignore' })
  const exited = once(child, 'exit')
  stack.defer(async () => {
    child.kill()
    await exited
  })
  const since = performance.now()
  while (!(await listens(port))) {
    if (child.exitCode !== null || performance.now() - since > PATIENCE_MS)
      throw new Error(`redis-server does not listen on port ${port}`)
    await sleep(20)
  }
  const number = /v=(\S+)/.exec(version.stdout)?.[1] ?? '?'
  return { url: `redis://127.0.0.1:${port}`, version: `Redis ${number}`, pid: child.pid as number }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
