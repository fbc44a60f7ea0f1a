import type { Settlement } from '../../core/outbox.ts'
import { emit } from '../../core/telemetry.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Environment } from '../environment.ts'
import type { Settled, SettlingAgain } from '../log/settle-again.ts'
import { insteadOf, isOutage, isRefusal } from './settle-fallback.ts'
import { createRecorder, type Recorder } from './recorder.ts'
import { createPause, type Pause } from './pause.ts'
import { createSettleReports, type SettleReports } from './settle-reports.ts'
import type { Entry } from './entry.ts'
import { createUnsettled } from './unsettled.ts'

/**
 * Records what became of messages: one `settle` at a time; what arrives meanwhile goes with the
 * next. A call that fails is repeated for as long as the relay lives. What the storage refuses is
 * tried alone, so that it holds back nothing else, and recorded as well as the storage allows.
 */
export interface Settler {
  add(entry: Entry): void
  /**
   * A call failed and none has succeeded since: nobody should claim and publish more. `failures`
   * counts them. A refusal counts only while a published message is left with its row.
   */
  readonly troubled: boolean
  readonly failures: number
  /** Since when a call has been waiting for its answer, in monotonic milliseconds. */
  readonly askedAt: number | undefined
  /**
   * Whether this message was confirmed and its row could not be settled. It must not be published
   * again.
   */
  confirmed(position: bigint, id: string): boolean
  /** Gives up: nothing more is settled and no timer is left. */
  halt(): void
  readonly halted: boolean
}

export interface SettlerPorts {
  readonly environment: Environment
  readonly storage: Pick<SettlingAgain, 'settle'>
  /**
   * These rows are no longer in the hands of the relay. `dropped`: they fall due when their claims
   * end.
   */
  readonly onGone: (entries: readonly Entry[], how: 'settled' | 'dropped') => void
}

/** A settlement that failed alone, for a reason of its own. */
interface Stubborn {
  readonly entry: Entry
  failures: number
  /** Monotonic. */
  notBefore: number
  /** How much had been recorded when it failed last. */
  recorded: number
  /** Something else was recorded between its failures, so the storage is there. */
  alone: boolean
}

const RETRY = { firstMs: 100, longestMs: 2000 }
const STUBBORN_RETRY = { firstMs: 500, longestMs: 30_000 }
/**
 * A settlement that failed alone this often is given up for the next best, unless the storage says
 * that it is away.
 */
const FAILURES_TO_GIVE_WAY = 6
/** Those that hurt most when they are late come first. */
const KINDS = ['sent', 'release', 'retry', 'dead'] as const

export function createSettler(ports: SettlerPorts): Settler {
  return new SettlingLoop(ports)
}

class SettlingLoop implements Settler {
  readonly #ports: SettlerPorts
  readonly #environment: Environment
  readonly #reports: SettleReports
  readonly #recorder: Recorder
  readonly #unsettled = createUnsettled()
  readonly #halted = new AbortController()
  readonly #pause: Pause
  #fresh: Entry[] = []
  #stubborn: Stubborn[] = []
  #working = false
  /** Calls that failed in a row, but for failures that hold up nobody else. */
  #failures = 0
  #recorded = 0

  constructor(ports: SettlerPorts) {
    this.#ports = ports
    this.#environment = ports.environment
    this.#recorder = createRecorder(ports.environment, ports.storage)
    this.#pause = createPause(ports.environment.clock)
    this.#reports = createSettleReports(ports.environment)
  }

  get troubled(): boolean {
    return this.#failures > 0
  }

  get failures(): number {
    return this.#failures
  }

  get askedAt(): number | undefined {
    return this.#recorder.askedAt
  }

  get halted(): boolean {
    return this.#halted.signal.aborted
  }

  confirmed(position: bigint, id: string): boolean {
    return this.#unsettled.has(position, id)
  }

  add(entry: Entry): void {
    if (this.#halted.signal.aborted) return
    this.#fresh.push(entry)
    if (entry.settlement.kind === 'sent')
      this.#unsettled.note(entry.settlement, entry.row.message.id)
    const { lingerMs = 0 } = entry
    if (lingerMs === 0 || this.#stubborn.length > 0) this.#pause.end()
    else this.#pause.shorten(lingerMs)
    if (this.#working) return
    this.#working = true
    void this.#work(lingerMs)
  }

  halt(): void {
    this.#halted.abort()
    this.#pause.end()
  }

  /**
   * Returns what was thrown. `instead`: what is recorded in place of the settlement of the only
   * entry. `alone`: its failure says nothing about the storage.
   */
  async #attempt(
    part: readonly Entry[],
    { instead, alone = false }: { readonly instead?: Settlement; readonly alone?: boolean } = {},
  ): Promise<{ readonly thrown: unknown } | undefined> {
    try {
      const settlements =
        instead === undefined ? part.map(({ settlement }) => settlement) : [instead]
      const settled = await this.#recorder.record(settlements, part.length)
      if (!this.#halted.signal.aborted) this.#succeeded(part, settled, instead)
      return undefined
    } catch (thrown) {
      if (!alone && meansTrouble(part, thrown)) this.#failures++
      if (!this.#halted.signal.aborted)
        this.#reports.failed(
          { failures: this.#failures, messages: part.length, refused: alone || isRefusal(thrown) },
          thrown,
        )
      return { thrown }
    }
  }

  #succeeded(
    part: readonly Entry[],
    { stale, open = 0 }: Settled,
    instead: Settlement | undefined,
  ): void {
    const { app } = this.#environment
    this.#reports.again()
    this.#failures = 0
    this.#recorded++
    emit('mersal:settle', () => ({ app, messages: part.length - open, stale }))
    this.#reports.stale(stale)
    // A confirmed message that was only set aside comes back, and is not to be published then.
    for (const { settlement, done } of part) {
      if (instead === undefined || instead.kind === 'sent') this.#unsettled.settled(settlement)
      // Of several it is not known which were lost.
      if (instead === undefined && stale + open < part.length) done?.()
    }
    const gone =
      instead === undefined ? part : part.map((entry) => ({ ...entry, settlement: instead }))
    this.#ports.onGone(gone, 'settled')
  }

  /**
   * What is new goes in one call. What fails twice is taken apart; a refusal is no outage and waits
   * for nothing.
   */
  async #settleFresh(): Promise<void> {
    const part = this.#fresh
    this.#fresh = []
    const failure = await this.#attempt(part)
    if (failure === undefined || this.#halted.signal.aborted) return
    if (isRefusal(failure.thrown) || this.#failures > 1) await this.#takeApart(part, failure.thrown)
    else this.#fresh.unshift(...part)
    if (this.#failures > 0)
      await this.#environment.clock.sleep(
        backoffMs(RETRY, this.#failures, this.#environment.random),
        this.#halted.signal,
      )
  }

  async #takeApart(part: readonly Entry[], thrown: unknown): Promise<void> {
    const groups = KINDS.map((kind) =>
      part.filter(({ settlement }) => settlement.kind === kind),
    ).filter(({ length }) => length > 0)
    for (const group of groups) {
      const failure = groups.length === 1 ? { thrown } : await this.#attempt(group)
      if (failure !== undefined) await this.#oneByOne(group, failure.thrown)
    }
  }

  /** Ends with the first that fails for no reason of its own: the storage is away. */
  async #oneByOne(group: readonly Entry[], thrown: unknown): Promise<void> {
    for (const [index, entry] of group.entries()) {
      if (this.#halted.signal.aborted) return
      const failure = group.length === 1 ? { thrown } : await this.#attempt([entry])
      if (failure === undefined) continue
      const one = { entry, failures: 0, notBefore: 0, recorded: 0, alone: false }
      await this.#failedAlone(one, failure.thrown)
      if (isRefusal(failure.thrown)) continue
      this.#fresh.unshift(...group.slice(index + 1))
      return
    }
  }

  async #failedAlone(one: Stubborn, thrown: unknown): Promise<void> {
    const { entry } = one
    one.failures++
    const refused = isRefusal(thrown)
    if (refused || (one.failures >= FAILURES_TO_GIVE_WAY && !isOutage(thrown))) {
      for (const instead of insteadOf(entry.settlement, thrown)) {
        if (instead.kind === 'sent' && !refused) continue
        if ((await this.#attempt([entry], { instead, alone: one.alone })) === undefined)
          return this.#reports.refused(entry, instead, thrown)
      }
    }
    if (refused && this.#environment.clock.monotonic() >= entry.keepUntil)
      return this.#drop(entry, thrown)
    one.notBefore =
      this.#environment.clock.monotonic() +
      backoffMs(
        refused || one.alone ? STUBBORN_RETRY : RETRY,
        one.failures,
        this.#environment.random,
      )
    one.recorded = this.#recorded
    this.#stubborn.push(one)
  }

  /** Nothing can be recorded of this row, and its claim is over. */
  #drop(entry: Entry, thrown: unknown): void {
    this.#reports.dropped(thrown)
    this.#ports.onGone([entry], 'dropped')
  }

  async #settleStubborn(): Promise<void> {
    const now = this.#environment.clock.monotonic()
    const due = this.#stubborn.filter(({ notBefore }) => notBefore <= now)
    this.#stubborn = this.#stubborn.filter(({ notBefore }) => notBefore > now)
    for (const one of due) {
      if (this.#halted.signal.aborted) return
      one.alone ||= this.#recorded > one.recorded
      const failure = await this.#attempt([one.entry], { alone: one.alone })
      if (failure !== undefined) await this.#failedAlone(one, failure.thrown)
    }
    if (this.#stubborn.length > 0 && this.#fresh.length === 0)
      await this.#rest(
        Math.min(...this.#stubborn.map(({ notBefore }) => notBefore)) -
          this.#environment.clock.monotonic(),
      )
  }

  /** This long, or less if something comes that hurries. */
  async #rest(ms: number): Promise<void> {
    if (this.#halted.signal.aborted) return
    await this.#pause.rest(ms)
  }

  async #work(lingerMs: number): Promise<void> {
    if (lingerMs > 0) await this.#rest(lingerMs)
    else await Promise.resolve() // what is confirmed in this very moment goes along
    while (this.#fresh.length + this.#stubborn.length > 0 && !this.#halted.signal.aborted) {
      if (this.#fresh.length > 0) await this.#settleFresh()
      // Under load there is always something fresh, so the others go in between.
      if (this.#failures === 0 || this.#fresh.length === 0) await this.#settleStubborn()
    }
    this.#working = false
    this.#failures = 0 // nothing is left that could not be settled
  }
}

/**
 * Whether nobody should claim and publish more after this failure. A refusal tells of one message
 * alone: several are taken apart at once, and only a published one has a row that must go.
 */
function meansTrouble(part: readonly Entry[], thrown: unknown): boolean {
  if (!isRefusal(thrown)) return true
  return part.length === 1 && part[0]?.settlement.kind === 'sent'
}
