/** The processes of one cell: a life that ends by the trap, and lives that go on. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Step, WorkerPlan } from './plan.ts'

export interface Life {
  readonly child: ChildProcess
  /** The port of its server, when it has started; undefined if it ends before. */
  readonly ready: Promise<number | undefined>
  readonly ended: Promise<string>
  readonly errors: () => string
}

export interface Trap {
  readonly steps: readonly Step[]
  readonly proof: string
}

export function startLife(programs: string, plan: WorkerPlan, trap?: Trap): Life {
  const file = (name: string): string => join(programs, `${name}.js`)
  const watching = trap === undefined ? [] : ['--import', file('trap')]
  const child = spawn(process.execPath, ['--no-warnings', ...watching, file('worker')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      CRASH_MATRIX_PLAN: JSON.stringify(plan),
      ...(trap === undefined ? {} : { CRASH_MATRIX_TRAP: JSON.stringify(trap) }),
    },
  })
  let said = ''
  let errors = ''
  const ended = once(child, 'close').then(([code, signal]) =>
    signal === null ? `code ${code}` : String(signal),
  )
  child.stderr.on('data', (chunk: Buffer) => (errors = `${errors}${String(chunk)}`.slice(-3000)))
  const port = new Promise<number>((resolve) =>
    child.stdout.on('data', (chunk: Buffer) => {
      said += String(chunk)
      const found = /ready (\d+)\n/.exec(said)
      if (found !== null) resolve(Number(found[1]))
    }),
  )
  const ready = Promise.race([port, ended.then(() => undefined)])
  return { child, ready, ended, errors: () => errors }
}

/** Throws unless it has died by the trap, at its last moment. */
export async function diesAt(
  { child, ended, errors }: Life,
  { steps, proof }: Trap,
): Promise<void> {
  const how = await ended
  const moment = steps.at(-1)?.moment
  if (how !== 'SIGKILL')
    throw new Error(`invalid run: nobody died at '${moment}', it ended with ${how}: ${errors()}`)
  const said = JSON.parse(await readFile(proof, 'utf8').catch(() => '{}')) as {
    pid?: number
    moment?: string
  }
  if (said.pid !== child.pid || said.moment !== moment)
    throw new Error(`invalid run: it died, but not at '${moment}'`)
}
