/**
 * One cell of the matrix: real processes, one of them killed at the point, then drained and
 * audited.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { aborted } from '../../src/lib/async/abort.ts'
import { audit, type Counts, type Findings } from './audit.ts'
import type { Progress } from './databases/database.ts'
import type { Place } from './place.ts'
import { committed, goesNowhere, isPoison, keysOf, type Role, type Step } from './plan.ts'
import type { CellRun } from './points.ts'
import { Processes } from './processes.ts'
import { cleanUp, remainsOf, type Site } from './remains.ts'
import { unknownsIn } from './unknowns.ts'

export interface Outcome {
  readonly findings: Findings
  readonly counts: Counts
  readonly crashes: number
  readonly seconds: number
}

const DEADLINE_MS = 120_000
/** With a bug it may never be quiet; then it is looked at as it is. */
const BUG_MS = 30_000
/**
 * The last moments of all come right after the drain; or when the log is read, whose slot waits for
 * every transaction of its server that was open when it was asked for, those of other cells too.
 */
const LATE_MS = 30_000
let sites = 0

/** Throws if a crash did not happen: such a run proves nothing. */
export async function runCell(place: Place, run: CellRun): Promise<Outcome> {
  const number = ++sites
  const name = `m${process.pid}_${number}`
  const site: Site = {
    place,
    database: place.databaseOf(run.kind),
    broker: place.brokerOf(run.kind),
    schema: name,
    queue: name,
    exchange: `${name}.events`,
    straight: run.kind.road === 'straight',
  }
  const folder = await mkdtemp(join(tmpdir(), 'mersal-matrix-'))
  const processes = new Processes(site, run, folder)
  const began = performance.now()
  try {
    await new Show(site, run, processes).play()
    const { findings, counts } = audit(await remainsOf(site), {
      straight: site.straight,
      unknown: unknownsIn(folder),
      victims: processes.victims,
      outgoingLetters: run.trap.operator?.of !== 'outbox',
      incomingLetters: incomingAfter(run),
    })
    return {
      findings,
      counts,
      crashes: processes.victims.length,
      seconds: (performance.now() - began) / 1000,
    }
  } finally {
    await processes.end()
    await cleanUp(site)
    await rm(folder, { recursive: true, force: true })
  }
}

function incomingAfter({ trap }: CellRun): 'there' | 'handled' | 'discarded' {
  if (trap.operator?.of !== 'queue') return 'there'
  return trap.operator.command[1] === 'retry' ? 'handled' : 'discarded'
}

/** What happens in a cell, one after the other. */
class Show {
  readonly #site: Site
  readonly #run: CellRun
  readonly #processes: Processes
  readonly #crashed = new AbortController()

  constructor(site: Site, run: CellRun, processes: Processes) {
    this.#site = site
    this.#run = run
    this.#processes = processes
  }

  async play(): Promise<void> {
    const { trap } = this.#run
    await this.#site.database.create(this.#site.schema)
    if (trap.victim === 'migrator') await this.#migrateAndDie()
    await this.#prepare()
    const crashed = this.#start()
    const late = this.#quietWithoutCrash()
    await Promise.race([crashed, late])
    // Nobody else may look into the queues from here on: a look holds what it finds.
    this.#crashed.abort()
    await late
    await this.#quiet()
    if (trap.operator !== undefined) await this.#operate(trap.operator)
    await this.#processes.stop()
    await this.#handOutTheRest()
  }

  /**
   * A copy of a message that cannot be handled may have been in the hands of the consumer when it
   * stopped.
   */
  async #handOutTheRest(): Promise<void> {
    for (let rounds = 0; rounds < 5 && (await this.#waiting()) > 0; rounds += 1) {
      this.#processes.start('finance')
      await this.#until(async () =>
        (await this.#waiting()) > 0 ? 'messages for the consumer' : undefined,
      )
      await this.#processes.stop()
    }
  }

  async #migrateAndDie(): Promise<void> {
    await this.#processes.dying('migrator', [this.#steps()])
    const wrong = await this.#site.database.halfDone(this.#site.schema)
    if (wrong !== undefined) throw new Error(wrong)
    await this.#processes.toTheEnd('migrator')
  }

  async #prepare(): Promise<void> {
    const { trap } = this.#run
    const { database, broker, schema } = this.#site
    const migrated = trap.victim === 'migrator'
    await database.prepare(schema, { migrated, kept: trap.options?.kept === true })
    await broker.prepare(this.#site, { migrated })
  }

  #progress(): Promise<Progress> {
    return this.#site.database.progress(this.#site.schema)
  }

  #waiting(): Promise<number> {
    return this.#site.broker.waiting(this.#site)
  }

  #steps(): readonly Step[] {
    const { trap, later = 0 } = this.#run
    return trap.steps.map((step, index) =>
      index === trap.steps.length - 1 ? { ...step, nth: (step.nth ?? 1) + later } : step,
    )
  }

  /** Resolves when all deaths of the cell have happened and the last life is up. */
  async #start(): Promise<void> {
    const { kind, trap } = this.#run
    const roles: readonly Role[] =
      kind.road === 'relay' ? ['finance', 'writer', 'relay'] : ['finance', 'writer']
    const lives = trap.again === undefined ? [this.#steps()] : [this.#steps(), trap.again]
    const second = trap.options?.second
    if (second === 'reads') await this.#startRelayThatReads()
    const deaths = roles.map(async (role) => {
      // What it writes is told of by the log.
      if (role === 'writer' && kind.log === true) await this.#followed()
      // It finds something to claim at its first look.
      else if (role === 'relay' && trap.victim === 'relay' && kind.log !== true)
        await this.#someAreWaiting()
      if (role === trap.victim) await this.#processes.dying(role, lives)
      this.#processes.start(role)
    })
    if (second === 'waits') deaths.push(this.#startRelayThatWaits())
    await Promise.all(deaths)
  }

  async #startRelayThatReads(): Promise<void> {
    this.#processes.start('relay')
    await this.#followed()
  }

  async #startRelayThatWaits(): Promise<void> {
    await this.#followed()
    this.#processes.start('relay')
  }

  /** Resolves when somebody reads the log. */
  async #followed(): Promise<void> {
    while (!(await this.#site.database.followed(this.#site.schema))) {
      this.#processes.check()
      await sleep(20)
    }
  }

  async #someAreWaiting(): Promise<void> {
    while ((await this.#progress()).students < committed.length / 2) {
      this.#processes.check()
      await sleep(10)
    }
  }

  async #isQuiet(): Promise<string | undefined> {
    const progress = await this.#progress()
    const poison = committed.filter(isPoison).length
    const effects = committed.flatMap(keysOf).length - poison
    const { kind, trap } = this.#run
    const kept = trap.options?.kept === true && kind.road !== 'straight'
    if (progress.students < committed.length || progress.outbox > 0 || progress.effects < effects)
      return JSON.stringify(progress)
    if (progress.dead < committed.filter(goesNowhere).length) return 'no dead letter yet'
    if (progress.old_inbox > 0 || (kept && progress.old_sent > 0))
      return `old rows are still there: ${JSON.stringify(progress)}`
    const letters = await this.#site.broker.letters(this.#site)
    if (letters < poison) return `${letters} dead letters of the consumer`
    return (await this.#waiting()) > 0 ? 'messages for the consumer' : undefined
  }

  async #quiet(signal?: AbortSignal): Promise<void> {
    await this.#until(() => this.#isQuiet(), signal)
  }

  async #until(waiting: () => Promise<string | undefined>, signal?: AbortSignal): Promise<void> {
    const { bug } = this.#run
    const deadline = performance.now() + (bug === undefined ? DEADLINE_MS : BUG_MS)
    for (;;) {
      if (signal?.aborted === true) return
      const why = await waiting()
      if (why === undefined) return
      this.#processes.check()
      if (performance.now() > deadline && bug !== undefined) return
      if (performance.now() > deadline) throw new Error(`not quiet after ${DEADLINE_MS} ms: ${why}`)
      await sleep(100)
    }
  }

  async #quietWithoutCrash(): Promise<void> {
    const { trap } = this.#run
    const { signal } = this.#crashed
    await this.#quiet(signal)
    if (trap.victim === 'operator' || trap.victim === 'migrator' || signal.aborted) return
    await Promise.race([aborted(signal), sleep(LATE_MS, undefined, { ref: false })])
    if (signal.aborted) return
    const last = trap.steps.at(-1)
    throw new Error(
      `invalid run: everything is drained, and the ${trap.victim} has not died at '${last?.moment}'`,
    )
  }

  async #operate({
    command,
    of,
  }: {
    readonly command: readonly string[]
    readonly of: 'outbox' | 'queue'
  }): Promise<void> {
    if (command[1] === 'retry') {
      await this.#site.database.putRight(this.#site.schema)
      await this.#site.broker.putRight(this.#site)
    }
    const args =
      of === 'queue'
        ? [...command.slice(0, 2), '--queue', this.#site.queue, ...command.slice(2)]
        : command
    await this.#processes.dying('operator', [this.#steps()], args)
    await this.#processes.toTheEnd('operator', args)
    const effects = committed.flatMap(keysOf).length
    await this.#until(async () => {
      const progress = await this.#progress()
      if (progress.outbox > 0 || (of === 'outbox' && progress.dead > 0))
        return JSON.stringify(progress)
      if (of !== 'queue') return undefined
      if (command[1] === 'retry' && progress.effects < effects) return JSON.stringify(progress)
      return (await this.#site.broker.letters(this.#site)) > 0
        ? 'letters are still there'
        : undefined
    })
  }
}
