/** The processes of a run. A program is started again whenever its process has ended. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CrashPoint } from '../../src/testing/crash-points.ts'
import type { Build } from './builds.ts'
import { historyFile, type History } from './history.ts'
import type { Order, Report, WorkerPlan } from './plan.ts'

export type ProgramPlan = Pick<
  WorkerPlan,
  | 'name'
  | 'role'
  | 'seed'
  | 'address'
  | 'asyncCommit'
  | 'express'
  | 'commitLog'
  | 'batch'
  | 'features'
>

export interface ProgramOptions {
  readonly plan: ProgramPlan
  readonly build: Build
  /** Gets plans, histories and outputs. */
  readonly folder: string
  readonly history: History
}

/** Only against waiting for ever: six processes start at once, on a machine that may be busy. */
const READY_MS = 180_000

const FORGET_MS = 5000

export class Program {
  readonly #options: ProgramOptions
  #child: ChildProcess | undefined
  #ended: Promise<string> = Promise.resolve('not started')
  #lives = 0
  #abandoned = false
  #expected = false
  #reports: Report[] = []
  #environment: NodeJS.ProcessEnv = {}
  #quiet = false
  #build: Build
  /** The build of each life. */
  readonly #builds = new Map<number, Build>()

  constructor(options: ProgramOptions) {
    this.#options = options
    this.#build = options.build
  }

  get name(): string {
    return this.#options.plan.name
  }

  get role(): WorkerPlan['role'] {
    return this.#options.plan.role
  }

  get life(): number {
    return this.#lives
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** The build of the process with this number. */
  buildOf(life: number): Build['name'] | undefined {
    return this.#builds.get(life)?.name
  }

  /** The processes that are started from now on are of this build. */
  use(build: Build): void {
    this.#build = build
  }

  /** How the present process ended: `SIGKILL`, or `exit 0`. */
  get ended(): Promise<string> {
    return this.#ended
  }

  get reports(): readonly Report[] {
    return this.#reports
  }

  /** Starts a process; resolves when it has begun to work, or has ended. */
  async start(): Promise<void> {
    const { plan, folder } = this.#options
    const life = ++this.#lives
    const file = join(folder, `${plan.name}.plan.json`)
    const { source, worker } = this.#build
    this.#builds.set(life, this.#build)
    const given = {
      ...plan,
      source,
      life,
      seed: plan.seed * 1000 + life,
      history: historyFile(folder, plan.name),
    }
    writeFileSync(file, JSON.stringify(given satisfies WorkerPlan))
    const child = fork(worker, [file], {
      execArgv: ['--disable-warning=ExperimentalWarning', '--expose-gc', '--no-flush-bytecode'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, ...this.#environment },
    })
    this.#child = child
    this.#expected = false
    this.#reports = []
    const output = join(folder, `${plan.name}.output.txt`)
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => appendFileSync(output, chunk))
    child.on('message', (report: Report) => this.#reports.push(report))
    this.#ended = once(child, 'close').then(([code, signal]) =>
      signal === null ? `exit ${code}` : String(signal),
    )
    void this.#watch(life)
    const over = this.#ended.then(() => true)
    for (const since = performance.now(); this.#reports.length === 0; ) {
      if (await Promise.race([over, sleep(20, false)])) break
      if (performance.now() - since > READY_MS)
        throw new Error(`${plan.name} was not ready after ${READY_MS} ms`)
    }
    if (this.#quiet) this.order({ kind: 'quiet' })
  }

  /** Notes the end of a process; one that nobody wanted is a finding. */
  async #watch(life: number): Promise<void> {
    const how = await this.#ended
    const wanted = this.#expected
    // Without its database an app does not start, says so, and is started again.
    const begun = this.#reports.length > 0
    this.#options.history.note({
      op: 'exit',
      phase: wanted || !begun ? 'ok' : 'fail',
      how: begun ? how : `${how} at the start`,
      of: this.name,
      ofLife: life,
    })
    if (!wanted && !this.#abandoned && this.#lives === life) await this.start().catch(() => {})
  }

  order(order: Order): void {
    if (this.#child?.connected === true) this.#child.send(order, () => {})
  }

  /** The producer writes nothing more, in this life and later ones. */
  quiet(): void {
    this.#quiet = true
    this.order({ kind: 'quiet' })
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL' | 'SIGTERM'): void {
    if (name === 'SIGKILL' || name === 'SIGTERM') this.#expected = true
    this.#child?.kill(name)
  }

  /** Resolves to true once the process has ended or stopped itself at this point. */
  async reaches(point: CrashPoint, action: 'kill' | 'stop', withinMs: number): Promise<boolean> {
    this.#expected = action === 'kill'
    this.order({ kind: 'at', point, action })
    const late = performance.now() + withinMs
    const over = this.#ended.then(() => true)
    while (performance.now() < late) {
      if (await Promise.race([over, sleep(10, false)])) return action === 'kill'
      if (action === 'stop' && this.stopped) return true
    }
    await this.#forget()
    if (action === 'kill' && this.#child?.signalCode === null) this.#expected = false
    return action === 'stop' ? this.stopped : this.#child?.signalCode !== null
  }

  /** On a busy machine it can get to the point before it hears that it shall not. */
  async #forget(): Promise<void> {
    const heard = (): number => this.#reports.filter(({ kind }) => kind === 'forgot').length
    const before = heard()
    this.order({ kind: 'forget' })
    // An older build does not tell.
    const late = performance.now() + FORGET_MS
    while (performance.now() < late && heard() === before) {
      if (this.#child?.signalCode !== null || this.stopped) return
      await sleep(10)
    }
  }

  get stopped(): boolean {
    try {
      return / T /.test(readFileSync(`/proc/${this.pid}/stat`, 'utf8').replace(/\(.*\)/, ''))
    } catch {
      return false
    }
  }

  /** SIGTERM; a process that does not end in time is killed. Resolves to how it ended. */
  async stop(withinMs: number): Promise<string> {
    this.signal('SIGTERM')
    const how = await Promise.race([this.#ended, sleep(withinMs, undefined, { ref: false })])
    if (how !== undefined) return how
    this.signal('SIGKILL')
    await this.#ended
    return 'late'
  }

  /** Environment of the processes that are started from now on. */
  within(environment: NodeJS.ProcessEnv): void {
    this.#environment = environment
  }

  async abandon(): Promise<void> {
    this.#abandoned = true
    this.signal('SIGKILL')
    await this.#ended
  }
}
