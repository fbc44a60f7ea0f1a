import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { brokerProblem } from '../../scripts/servers/rabbitmq.ts'
import { watchdog } from '../../scripts/servers/watchdog.ts'
import { clusterAvailable } from '../postgres/cluster.ts'
import { embeddedAvailable } from '../postgres/embedded.ts'
import { pgbouncerAvailable } from '../postgres/pgbouncer.ts'

const holder = fileURLToPath(new URL('holder.ts', import.meta.url))
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

let folder: string
beforeEach(() => {
  folder = mkdtempSync('/tmp/mersal-watchdog-')
  // The users of the servers pass through it.
  chmodSync(folder, 0o755)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function listens(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  return new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).finally(() => socket.destroy()) as Promise<boolean>
}

async function started(
  kind: string,
): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = spawn(process.execPath, [holder, kind], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: folder },
  })
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('it has ended')))
  ended.catch(() => {})
  const [text] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer]
  expect(readdirSync(folder)).not.toEqual([])
  return { child, port: Number(new URL(text.toString().trim()).port) }
}

const here: readonly (readonly [string, boolean])[] = [
  ['postgres', clusterAvailable()],
  ['embedded', embeddedAvailable()],
  ['pgbouncer', pgbouncerAvailable()],
  ['rabbitmq', brokerProblem() === undefined],
]

describe.each(here.filter(([, there]) => there).map(([kind]) => kind))(
  'a private server of the kind %s',
  { timeout: 240_000 },
  (kind) => {
    test('ends with the process that started it, killed without a warning, and leaves no folder behind', async () => {
      const { child, port } = await started(kind)
      expect(await listens(port)).toBe(true)
      child.kill('SIGKILL')
      await once(child, 'exit')
      while (await listens(port)) await sleep(50)
      const remains = (): string[] =>
        readdirSync(folder).filter((name) => name.startsWith('mersal-'))
      while (remains().length > 0) await sleep(50)
    })
  },
)

test('a watchdog that was told that all is done touches nothing', {
  timeout: 240_000,
}, async () => {
  const bystander = spawn('sleep', ['60'])
  {
    await using guard = watchdog({ pidFiles: [], signal: 'KILL', folders: [folder] })
    guard.watch(bystander.pid ?? 0)
  }
  await sleep(1500)
  expect(bystander.exitCode ?? bystander.signalCode).toBeNull()
  expect(readdirSync(folder)).toEqual([])
  bystander.kill()
})
