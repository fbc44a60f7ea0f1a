/**
 * One cell: two real processes, one of them killed at the point and started again, then drained and
 * audited.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { audit, type Counts, type Findings } from './audit.ts'
import { Customer } from './customer.ts'
import { openDesk } from './desk.ts'
import type { Servers, Site } from './eye.ts'
import {
  A_DAY_MS,
  type Bug,
  clerkOf,
  courseOf,
  numbers,
  quoteNumbers,
  type Road,
  type Role,
  tapOf,
  topics,
  type WorkerPlan,
} from './plan.ts'
import type { CrashPoint } from './points.ts'
import { diesAt, type Life, startLife, type Trap } from './processes.ts'
import { tablesOf } from './tables.ts'

export interface CellRun {
  readonly point: CrashPoint
  readonly road: Road
  /** Added to the number of times that the last moment has to come. */
  readonly later?: number
  readonly bug?: Bug
}

export interface Outcome {
  readonly findings: Findings
  readonly counts: Counts
  readonly seconds: number
}

const DEADLINE_MS = 90_000
/** With a bug it may never be quiet; then it is looked at as it is. */
const BUG_MS = 20_000
let cells = 0

/** Throws if nobody died where somebody should: such a run proves nothing. */
export async function runCell(
  { servers, programs }: { readonly servers: Servers; readonly programs: string },
  run: CellRun,
): Promise<Outcome> {
  const cell = `f${process.pid}x${++cells}`
  const folder = await mkdtemp(join(tmpdir(), 'mersal-features-proof-'))
  const began = performance.now()
  try {
    await using site = await servers.open(cell)
    await using show = new Show({ site, programs, cell, proof: join(folder, 'proof') }, run)
    await show.play()
    return {
      ...(await audit(site, show.customer.answers)),
      seconds: (performance.now() - began) / 1000,
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Stage {
  readonly site: Site
  readonly programs: string
  readonly cell: string
  readonly proof: string
}

class Show implements AsyncDisposable {
  readonly #stage: Stage
  readonly #run: CellRun
  readonly #lives = new Map<Role, Life>()
  readonly #over = new AbortController()
  readonly customer: Customer
  #port: number | undefined
  #failure: Error | undefined

  constructor(stage: Stage, run: CellRun) {
    this.#stage = stage
    this.#run = run
    this.customer = new Customer({
      port: () => this.#port,
      begun: async (number) => await this.#has('steps', `step = 'start' and number = ${number}`),
      signal: this.#over.signal,
    })
  }

  async play(): Promise<void> {
    await this.#prepare()
    const { victim } = this.#run.point
    const steps = this.#steps()
    const crashed = this.#dyingLife(victim, { steps, proof: this.#stage.proof })
    const others = (['clerk', 'shop'] as const).filter((role) => role !== victim)
    for (const role of others) this.#live(role)
    const shopping = this.customer.shop()
    shopping.catch(() => {})
    await this.#until(async () => ((await this.#died(crashed)) ? undefined : 'nobody has died'))
    if (!(await this.#died(crashed))) throw new Error('invalid run: nobody has died')
    this.#live(victim)
    let bought = false
    void shopping.then(() => (bought = true))
    await this.#until(() => Promise.resolve(bought ? undefined : 'the customer has no answers'))
    await this.#until(() => this.#isQuiet())
    if (bought) await this.customer.repeat()
    await this.#stop()
  }

  #plan(role: Role): WorkerPlan {
    const { site, cell } = this.#stage
    const { road, bug } = this.#run
    return {
      ...site.address,
      role,
      kind: road,
      exchange: cell,
      cell,
      ...(bug === undefined ? {} : { bug }),
    }
  }

  /** Tables and queues. */
  async #prepare(): Promise<void> {
    const { site, cell } = this.#stage
    for (const sql of tablesOf(this.#run.road.database)) await writes(site, sql)
    await using desk = openDesk(this.#plan('clerk'))
    const { store, transport } = desk
    await store.open()
    await store.sagas?.open()
    await store.once?.open()
    await transport.subscribe(tapOf(cell), topics)
    await transport.subscribe(clerkOf(cell), [])
    await transport[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  }

  #steps(): Trap['steps'] {
    const { point, road, later = 0 } = this.#run
    const steps = point.steps(road.database)
    if (steps === undefined) throw new Error(`there is no ${point.name} on ${road.name}`)
    return steps.map((step, index) =>
      index === 0 ? { ...step, nth: (step.nth ?? 1) + later } : step,
    )
  }

  #live(role: Role): Life {
    return this.#started(role, startLife(this.#stage.programs, this.#plan(role)), 'lives')
  }

  #started(role: Role, life: Life, how: 'lives' | 'dies'): Life {
    this.#lives.set(role, life)
    if (role === 'shop') void life.ready.then((port) => (this.#port = port))
    void life.ended.then((end) => {
      if (role === 'shop') this.#port = undefined
      if (how === 'lives' && end !== 'code 0' && end !== 'SIGKILL')
        this.#failure ??= new Error(`${role} ended with ${end}: ${life.errors()}`)
    })
    return life
  }

  async #dyingLife(role: Role, trap: Trap): Promise<void> {
    const life = startLife(this.#stage.programs, this.#plan(role), trap)
    await diesAt(this.#started(role, life, 'dies'), trap)
  }

  async #died(crashed: Promise<void>): Promise<boolean> {
    return await Promise.race([crashed.then(() => true), sleep(100, false)])
  }

  async #has(table: string, where: string): Promise<boolean> {
    const rows = await this.#stage.site.rows(`select count(*) as n from ${table} where ${where}`)
    return Number(rows[0]?.['n']) > 0
  }

  async #isQuiet(): Promise<string | undefined> {
    const { site } = this.#stage
    const count = async (sql: string): Promise<number> =>
      Number((await site.rows(`select count(*) as n from ${sql}`))[0]?.['n'])
    if ((await count('quotes')) < quoteNumbers.length) return 'some prices are not known'
    const ends = numbers.filter((number) => courseOf(number) !== 'open').length
    if ((await count(`steps where step in ('settled', 'overdue')`)) < ends) return 'open sagas'
    const halves = numbers.filter((number) => courseOf(number) === 'open').length
    if ((await count(`steps where step = 'part 1' and ${isOpen}`)) < halves) return 'open halves'
    const gone = await count(`cancels where answer = 'cancelled'`)
    if ((await count('reminded')) < numbers.length - gone) return 'reminders'
    const rows = (await site.outbox()).filter((row) => !waitsForADay(row['due']))
    if (rows.length > 0) return `${rows.length} rows in the outbox`
    return (await site.waiting()) > 0 ? 'messages for the clerk' : undefined
  }

  async #until(waiting: () => Promise<string | undefined>): Promise<void> {
    const { bug } = this.#run
    const deadline = performance.now() + (bug === undefined ? DEADLINE_MS : BUG_MS)
    for (;;) {
      const why = await waiting()
      if (why === undefined) return
      if (this.#failure !== undefined) throw this.#failure
      if (performance.now() > deadline && bug !== undefined) return
      if (performance.now() > deadline) throw new Error(`not quiet after ${DEADLINE_MS} ms: ${why}`)
      await sleep(100)
    }
  }

  /** In good order, so that whatever somebody still holds is seen. */
  async #stop(): Promise<void> {
    const ends = [...this.#lives].map(async ([role, { child, ended, errors }]) => {
      child.kill('SIGTERM')
      const how = await ended
      if (how !== 'code 0') throw new Error(`${role} ended with ${how} after SIGTERM: ${errors()}`)
    })
    await Promise.all(ends)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort()
    for (const { child } of this.#lives.values()) child.kill('SIGKILL')
    await Promise.all([...this.#lives.values()].map(({ ended }) => ended))
  }
}

const isOpen = `number in (${numbers.filter((number) => courseOf(number) === 'open').join(', ')})`

/** What a row of the outbox says of its time, in whatever form the database has it. */
function waitsForADay(due: unknown): boolean {
  if (due === null || due === undefined) return false
  const at = due instanceof Date ? due.getTime() : Number(due)
  return at > Date.now() + A_DAY_MS / 2
}

async function writes(site: Site, sql: string): Promise<void> {
  await site.rows(sql)
}
