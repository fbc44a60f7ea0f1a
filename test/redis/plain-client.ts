import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** What `redis-cli`, which knows nothing of ours, gets from the server. */
export async function redisCli(url: string, ...args: readonly string[]): Promise<unknown> {
  const { hostname, port, password } = new URL(url)
  const login = password === '' ? [] : ['-a', decodeURIComponent(password), '--no-auth-warning']
  const place = ['-h', hostname, '-p', port, ...login]
  const { stdout } = await execute('redis-cli', [...place, '--json', ...args], {
    maxBuffer: 1 << 28,
  })
  return JSON.parse(stdout)
}

/** Whether the server can tell when it has written to its disk: Redis 7.2, and Valkey. */
export async function hasWaitAof(url: string): Promise<boolean> {
  return ((await redisCli(url, 'COMMAND', 'INFO', 'waitaof')) as unknown[])[0] !== null
}

/** The messages of a stream, in its order, with texts as they are. */
export async function streamOf(
  url: string,
  key: string,
): Promise<readonly Readonly<Record<string, string>>[]> {
  const entries = (await redisCli(url, 'XRANGE', key, '-', '+')) as [string, string[]][]
  return entries.map(([, fields]) =>
    Object.fromEntries(
      fields.flatMap((name, at) => (at % 2 === 0 ? [[name, fields[at + 1] ?? '']] : [])),
    ),
  )
}
