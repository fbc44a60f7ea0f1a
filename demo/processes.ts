/** A program of the demo as its parent sees it: started, killed as planned, started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname, join } from 'node:path'
import type { CrashPoint } from '../src/testing/crash-points.ts'
import { type AppName, type ChildPlan, PLAN_VARIABLE, REPORT_FD } from './plan.ts'

/** One planned death: where, and how to say it. */
export interface Stop {
  readonly point: CrashPoint
  readonly nth: number
  readonly where: string
}

export interface ProgramOptions {
  readonly name: AppName
  readonly plan: Omit<ChildPlan, 'app'>
  /** One per life; the last life has none. */
  readonly stops: readonly Stop[]
  /**
   * Starts it again also after it failed, as a supervisor would: a server may be away. Default
   * false.
   */
  readonly supervised?: boolean
  readonly say: (text: string) => void
}

const MOST_FAILURES = 40
const FAILURE_PAUSE_MS = 500

/** A program that is killed at the planned places and started again each time. */
export class Program {
  readonly #options: ProgramOptions
  #child: ChildProcess | undefined
  #life = 0
  #failures = 0
  #ending = false
  #lastLine = ''
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
    const { name: app, plan, stops } = this.#options
    const stop = stops[this.#life]
    const given: ChildPlan = {
      ...plan,
      app,
      ...(stop === undefined ? {} : { stop: { point: stop.point, nth: stop.nth } }),
    }
    const program = join(import.meta.dirname, `apps${extname(import.meta.filename)}`)
    const child = spawn(process.execPath, ['--no-warnings', program], {
      env: { ...process.env, [PLAN_VARIABLE]: JSON.stringify(given) },
      stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
    })
    child.stdio[REPORT_FD]?.once('data', () => this.#kill(child, stop))
    child.once('exit', (code, signal) => this.#onExit(code, signal))
    child.stdin?.on('error', () => {}) // it may be dead already
    this.#child = child
    if (this.#lastLine !== '') child.stdin?.write(this.#lastLine)
  }

  /** Writes a line to its standard input, and again at the beginning of every later life. */
  tell(line: string): void {
    this.#lastLine = `${line}\n`
    this.#child?.stdin?.write(this.#lastLine)
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
    else if (this.#options.supervised === true && this.#failures < MOST_FAILURES) this.#startLater()
    else
      this.#finished.reject(
        new Error(`${this.#options.name} ended with ${signal ?? `code ${code}`}`),
      )
  }

  #startLater(): void {
    this.#failures += 1
    this.#options.say(`${this.name} ended by itself and is started again`)
    setTimeout(() => {
      if (!this.#ending) this.start()
    }, FAILURE_PAUSE_MS)
  }
}
