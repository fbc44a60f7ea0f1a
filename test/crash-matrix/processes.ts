/** The processes of one cell: lives that end by the trap, and lives that go on. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Role, Step, WorkerPlan } from './plan.ts'
import type { CellRun } from './points.ts'
import type { Site } from './remains.ts'

interface Living {
  readonly role: Role
  /** Resolves when it has started. */
  readonly ready: Promise<unknown>
  readonly ended: Promise<readonly [number | null, string | null]>
  readonly errors: () => string
}

export class Processes {
  readonly #site: Site
  readonly #run: CellRun
  readonly #folder: string
  readonly #alive = new Map<ChildProcess, Living>()
  readonly victims: string[] = []
  #failure: Error | undefined
  #lives = 0

  constructor(site: Site, run: CellRun, folder: string) {
    this.#site = site
    this.#run = run
    this.#folder = folder
  }

  /** Throws what a process that should live has died of. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  start(role: Role): void {
    this.#spawn(role)
  }

  /** One life after the other: each has to end by the trap, and to have proved it. */
  async dying(
    role: Role,
    lives: readonly (readonly Step[])[],
    args?: readonly string[],
  ): Promise<void> {
    for (const steps of lives) {
      const proof = join(this.#folder, `proof-${this.#lives}`)
      const { child, name, ended, errors } = this.#spawn(role, { steps, proof }, args)
      const [code, signal] = await ended
      const moment = steps.at(-1)?.moment
      if (signal !== 'SIGKILL')
        throw new Error(
          `invalid run: ${role} did not die at '${moment}', it ended with code ${code}: ${errors()}`,
        )
      const said = JSON.parse(await readFile(proof, 'utf8').catch(() => '{}')) as {
        pid?: number
        moment?: string
      }
      if (said.pid !== child.pid || said.moment !== moment)
        throw new Error(`invalid run: ${role} died, but not at '${moment}'`)
      this.victims.push(name)
    }
  }

  async toTheEnd(role: Role, args?: readonly string[]): Promise<void> {
    const { ended, errors } = this.#spawn(role, undefined, args)
    const [code] = await ended
    if (code !== 0) throw new Error(`${role} ended with code ${code}: ${errors()}`)
  }

  /** In good order, so that whatever somebody still holds is seen. */
  async stop(): Promise<void> {
    const ends = [...this.#alive].map(async ([child, { role, ready, ended, errors }]) => {
      await Promise.race([ready, ended])
      child.kill('SIGTERM')
      const [code, signal] = await ended
      if (code !== 0)
        throw new Error(`${role} ended with ${signal ?? `code ${code}`} after SIGTERM: ${errors()}`)
    })
    await Promise.all(ends)
    this.check()
  }

  async end(): Promise<void> {
    const ends = [...this.#alive.values()].map(({ ended }) => ended)
    for (const child of this.#alive.keys()) child.kill('SIGKILL')
    await Promise.all(ends)
  }

  #spawn(
    role: Role,
    trap?: { readonly steps: readonly Step[]; readonly proof: string },
    args: readonly string[] = ['relay', '--port', '0'],
  ) {
    const { kind, bug, trap: given } = this.#run
    const { place, database, broker, schema, queue, exchange } = this.#site
    const name = `${role} ${++this.#lives}`
    const ours = role === 'relay' || role === 'operator'
    const plan: WorkerPlan = {
      role: ours ? 'writer' : role,
      name,
      kind,
      schema,
      queue,
      exchange,
      database: database.address(schema, name),
      broker: broker.url,
      options: given.options ?? {},
      ...(bug === undefined ? {} : { bug }),
    }
    const file = (program: string): string => join(place.programs, `${program}.js`)
    const program = ours
      ? [file('mersal'), ...args, '--config', file('relay-config')]
      : [file('worker')]
    const child = spawn(
      process.execPath,
      ['--no-warnings', ...(trap === undefined ? [] : ['--import', file('trap')]), ...program],
      {
        cwd: this.#folder,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          PATH: process.env['PATH'],
          CRASH_MATRIX_PLAN: JSON.stringify(plan),
          ...(trap === undefined
            ? {}
            : { CRASH_MATRIX_TRAP: JSON.stringify({ steps: trap.steps, proof: trap.proof }) }),
        },
      },
    )
    let text = ''
    child.stderr.on('data', (chunk: Buffer) => (text = `${text}${chunk.toString()}`.slice(-3000)))
    // Workers say it on standard output, `mersal relay` in its log on standard error.
    const ready = new Promise((resolve) => {
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) =>
          /ready|"metrics"/.test(chunk.toString()) ? resolve(true) : undefined,
        )
    })
    const ended = this.#watch(child, role, { dies: trap !== undefined, ready, errors: () => text })
    return { child, name, ended, errors: () => text }
  }

  async #watch(
    child: ChildProcess,
    role: Role,
    {
      dies,
      ready,
      errors,
    }: { readonly dies: boolean; readonly ready: Promise<unknown>; readonly errors: () => string },
  ): Promise<readonly [number | null, string | null]> {
    const ended = once(child, 'close') as Promise<[number | null, string | null]>
    this.#alive.set(child, { role, ready, ended, errors })
    const [code, signal] = await ended
    this.#alive.delete(child)
    if (!dies && code !== 0 && signal === null)
      this.#failure ??= new Error(`${role} ended with code ${code}: ${errors()}`)
    return [code, signal]
  }
}
