import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { CrashPoint } from '../src/testing/crash-points.ts'
import { type ChildPlan, REPORT_FD } from './plan.ts'

/** One planned death: where, and how to say it. */
export interface Stop {
  readonly point: CrashPoint
  readonly nth: number
  readonly where: string
}

export interface ProgramOptions {
  readonly name: string
  /** File of the program, relative to this folder. */
  readonly file: string
  readonly plan: ChildPlan
  /** One per life; the last life has none. */
  readonly stops: readonly Stop[]
  readonly say: (text: string) => void
}

/** A program that is killed at the planned places and started again each time. */
export class Program {
  readonly #options: ProgramOptions
  #child: ChildProcess | undefined
  #life = 0
  #ending = false
  #finished = Promise.withResolvers<void>()

  constructor(options: ProgramOptions) {
    this.#options = options
    this.#finished.promise.catch(() => {}) // looked at by whoever waits
  }

  get name(): string {
    return this.#options.name
  }

  get kills(): number {
    return this.#life
  }

  /** Resolves when the program has ended by itself; rejects if it failed. */
  get finished(): Promise<void> {
    return this.#finished.promise
  }

  get planned(): readonly Stop[] {
    return this.#options.stops
  }

  start(): void {
    this.#ending = false
    const { file, plan, stops } = this.#options
    const stop = stops[this.#life]
    const given: ChildPlan = stop === undefined ? plan : { ...plan, stop: { point: stop.point, nth: stop.nth } }
    const program = fileURLToPath(new URL(file, import.meta.url))
    const child = spawn(process.execPath, ['--no-warnings', program, JSON.stringify(given)], {
      stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
    })
    child.stdio[REPORT_FD]?.once('data', () => this.#kill(child, stop))
    child.once('exit', (code, signal) => this.#onExit(code, signal))
    this.#child = child
  }

  /** SIGTERM, as an operator would; resolves when the process has ended. */
  async stop(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    this.#ending = true
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  /** At once, whatever it does. */
  abandon(): void {
    this.#ending = true
    this.#child?.kill('SIGKILL')
  }

  #kill(child: ChildProcess, stop: Stop | undefined): void {
    this.#options.say(`SIGKILL ${this.#options.name} (pid ${child.pid}) ${stop?.where ?? ''}`)
    child.kill('SIGKILL')
  }

  #onExit(code: number | null, signal: string | null): void {
    if (this.#ending) return
    if (signal === 'SIGKILL') {
      this.#life += 1
      this.start()
    } else if (code === 0) this.#finished.resolve()
    else this.#finished.reject(new Error(`${this.#options.name} ended with ${signal ?? `code ${code}`}`))
  }
}
