/**
 * Runs one crash: real processes on SQLite files, one of them killed at the point, then drained and
 * audited.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import type { CrashPoint } from '../../../src/testing/crash-points.ts'
import { type Findings, audit, pending, students } from './audit.ts'
import { keeping, losePower } from './power.ts'
import {
  type Bug,
  type Role,
  TRANSACTIONS,
  type WorkerPlan,
  files,
  isRolledBack,
  queues,
} from './plan.ts'
import { seededRandom } from '../../../scripts/seeded-random.ts'

export interface CrashRun {
  readonly lane: 'express' | 'relay'
  readonly point: CrashPoint
  readonly nth: number
  readonly bug?: Bug
  /**
   * When the victim dies, all others die as well, and what was not flushed may be gone. The number
   * decides what.
   */
  readonly power?: number
  /** Most messages that the handler takes in one transaction; default 1. */
  readonly batch?: number
}

const built = process.env['MERSAL_TEST_PROGRAMS']
const worker =
  built === undefined ? join(import.meta.dirname, 'worker.ts') : join(built, 'crash-worker.js')
const DEADLINE_MS = 120_000

/** Who has to be killed for this point. */
export function victimOf({ lane, point }: Pick<CrashRun, 'lane' | 'point'>): Role {
  if (point.startsWith('C')) return 'finance'
  return point.startsWith('R') && lane === 'relay' ? 'relay' : 'producer'
}

/** Throws if the crash did not happen: such a run proves nothing. */
export async function runCrash(run: CrashRun): Promise<Findings> {
  const folder = await mkdtemp(join(tmpdir(), 'mersal-crash-'))
  const processes = new Processes(folder, run)
  try {
    await prepare(folder)
    await processes.runAll()
    const findings = audit(folder, processes.killed)
    return { ...findings, lost: findings.lost + processes.forgotten }
  } finally {
    await processes.end()
    await rm(folder, { recursive: true, force: true })
  }
}

async function prepare(folder: string): Promise<void> {
  const registrar = new DatabaseSync(join(folder, files.registrar))
  registrar.exec(
    'CREATE TABLE students (committed INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL)',
  )
  registrar.close()
  const finance = new DatabaseSync(join(folder, files.finance))
  finance.exec('CREATE TABLE effects (number INTEGER NOT NULL, part INTEGER NOT NULL)')
  finance.close()
  for (const file of [files.registrar, files.finance]) {
    await using store = sqlite({ path: join(folder, file) })
    await store.open()
  }
  await using broker = sqliteQueue({ path: join(folder, files.broker) })
  await broker.subscribe(queues.finance, ['students.registered'])
  await broker.subscribe(queues.log, ['students.registered'])
  await broker.subscribe(queues.ledger, ['students.billed'])
}

/** What the producer was told. */
function answered(folder: string): number[] {
  const path = join(folder, files.answered)
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').map(Number) : []
}

class Processes {
  readonly #folder: string
  readonly #run: CrashRun
  readonly #alive = new Set<ChildProcess>()
  #failure: Error | undefined
  /** Process ids. */
  readonly killed: number[] = []
  /** Transactions that were answered as committed, and that the loss of power has taken back. */
  forgotten = 0

  constructor(folder: string, run: CrashRun) {
    this.#folder = folder
    this.#run = run
  }

  async runAll(): Promise<void> {
    const roles: readonly Role[] =
      this.#run.lane === 'relay' ? ['finance', 'relay', 'producer'] : ['finance', 'producer']
    await Promise.race([
      Promise.all(roles.map((role) => this.#keep(role))),
      this.#drainedWithoutCrash(),
    ])
    if (this.#run.power !== undefined) await this.#losePower(this.#run.power, roles)
    await this.#drained()
  }

  async end(): Promise<void> {
    for (const child of this.#alive) child.kill('SIGKILL')
    await Promise.all([...this.#alive].map((child) => once(child, 'exit')))
  }

  get #flushes(): string {
    return join(this.#folder, 'flushes')
  }

  /** The victim is dead; all others die with it, and live again on what the disk holds. */
  async #losePower(seed: number, roles: readonly Role[]): Promise<void> {
    this.killed.push(...[...this.#alive].flatMap(({ pid }) => pid ?? []))
    await this.end()
    const random = seededRandom(seed)
    const all = [files.registrar, files.broker, files.finance]
    losePower(this.#folder, all, this.#flushes, keeping(random))
    const kept = students(this.#folder)
    this.forgotten = answered(this.#folder).filter((number) => !kept.includes(number)).length
    for (const role of roles) this.#start(role, false)
  }

  /**
   * Starts a process that runs until the harness ends. If it is the victim, waits for its crash and
   * starts it again.
   */
  async #keep(role: Role): Promise<void> {
    const victim = victimOf(this.#run) === role
    const child = this.#start(role, victim)
    if (!victim) return
    if (child.pid !== undefined) this.killed.push(child.pid)
    await this.#killed(child, role)
    if (this.#run.power === undefined) this.#start(role, false)
  }

  async #killed(child: ChildProcess, role: Role): Promise<void> {
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    const { point, nth } = this.#run
    if (signal !== 'SIGKILL')
      throw new Error(
        `invalid run: ${role} did not crash at ${point} #${nth}, it ended with code ${code}`,
      )
  }

  #start(role: Role, crash: boolean): ChildProcess {
    const { lane, point, nth, bug, batch, power } = this.#run
    if (power !== undefined) mkdirSync(this.#flushes, { recursive: true })
    const plan: WorkerPlan = {
      role,
      folder: this.#folder,
      lane,
      ...(crash ? { crash: { point, nth } } : {}),
      ...(bug === undefined ? {} : { bug }),
      ...(power === undefined ? {} : { power: this.#flushes }),
      ...(batch === undefined ? {} : { batch }),
    }
    const child = spawn(process.execPath, ['--no-warnings', worker, JSON.stringify(plan)], {
      stdio: ['pipe', 'ignore', 'pipe'],
    })
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    this.#alive.add(child)
    child.once('exit', (code) => {
      this.#alive.delete(child)
      if (code !== null && code !== 0)
        this.#failure ??= new Error(`${role} ended with code ${code}: ${errors.slice(0, 2000)}`)
    })
    return child
  }

  /** Nothing waits anywhere, and every transaction that should commit has. */
  async #drained(): Promise<void> {
    const wanted = Array.from({ length: TRANSACTIONS }, (_, number) => number).filter(
      (number) => !isRolledBack(number),
    ).length
    const signal = AbortSignal.timeout(DEADLINE_MS)
    while (students(this.#folder).length < wanted || pending(this.#folder) > 0) {
      if (this.#failure !== undefined) throw this.#failure
      if (signal.aborted)
        throw new Error(
          `not drained after ${DEADLINE_MS} ms: ${pending(this.#folder)} still waiting`,
        )
      await sleep(10)
    }
  }

  /** The last points of all come right after the drain, so the crash gets a moment more. */
  async #drainedWithoutCrash(): Promise<never> {
    await this.#drained()
    await sleep(2000, undefined, { ref: false })
    throw new Error(
      `invalid run: everything is drained, but nobody reached ${this.#run.point} for the ${this.#run.nth}. time`,
    )
  }
}
