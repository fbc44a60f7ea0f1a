import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { watchdog } from './watchdog.ts'

const LONGEST_START_MS = 30_000
const LOOK_MS = 20

/** A program of a server that may be killed, stopped, and started again. */
export interface ServerProgram extends AsyncDisposable {
  start(): Promise<void>
  /** Sends a signal to the process. With SIGKILL it resolves when the process is gone. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Ends it in good order. */
  stop(): Promise<void>
  /** The id of its process; 0 while there is none. */
  pid(): number
}

export interface ServerPlan {
  /** For errors. */
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  /** Removed at the end. */
  readonly folder: string
  /** Whether the server is ready. */
  readonly answers: () => Promise<boolean>
  /** Longest time until it is, in milliseconds. Default 30,000. */
  readonly longestStartMs?: number
  /** What has to be done once before it starts. */
  readonly prepare?: () => Promise<void>
}

/** Where a program is, or undefined; besides PATH it may be in these folders. */
export function findProgram(
  name: string,
  environment: NodeJS.ProcessEnv,
  alsoIn: readonly string[],
): string | undefined {
  const folders = [...(environment['PATH'] ?? '').split(':'), ...alsoIn]
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/**
 * Starts a server of its own. It ends with this process, however that ends. Rejects if the server
 * does not start; then nothing of it is left.
 */
export async function startServer(plan: ServerPlan): Promise<ServerProgram> {
  const { folder } = plan
  const guard = watchdog({ pidFiles: [], signal: 'KILL', folders: [folder] })
  let server: { readonly pid: number; readonly ended: Promise<unknown> } | undefined
  const start = async (): Promise<void> => {
    // A group of its own: Ctrl+C at the terminal is for the program that started it.
    const options = { cwd: folder, stdio: 'ignore', detached: true } as const
    const child = spawn(plan.program, plan.args, options)
    await once(child, 'spawn')
    const pid = child.pid as number
    guard.watch(pid)
    server = { pid, ended: once(child, 'exit') }
    const until = performance.now() + (plan.longestStartMs ?? LONGEST_START_MS)
    while (!(await plan.answers())) {
      if (child.exitCode !== null || performance.now() > until)
        throw new Error(`${plan.name} does not start (exit code ${child.exitCode})`)
      await wait(LOOK_MS)
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
    await plan.prepare?.()
    await start()
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    start,
    async signal(name) {
      if (name === 'SIGKILL') await end(name)
      else if (server !== undefined) process.kill(server.pid, name)
    },
    stop: () => end('SIGTERM'),
    pid: () => server?.pid ?? 0,
    [Symbol.asyncDispose]: dispose,
  }
}
