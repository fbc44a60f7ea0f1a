import type { ClaimedMessage, OutboxStorage, Settlement } from '../../core/outbox.ts'
import { emit } from '../../core/telemetry.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Environment } from '../environment.ts'
import { insteadOf, isOutage, isRefusal } from './settle-fallback.ts'
import { createSettleReports } from './settle-reports.ts'
import { createUnsettled } from './unsettled.ts'

export interface Entry {
  readonly row: ClaimedMessage
  readonly settlement: Settlement
  /** End of the claim (monotonic). */
  readonly keepUntil: number
  /** Later rows of its key may have waited for this one. */
  readonly unblocks: boolean
  /** Nothing hurries: it may wait a moment for others to go along. */
  readonly lingers?: boolean | undefined
  /** Called once the storage has recorded it. */
  readonly done?: (() => void) | undefined
}

/**
 * Records what became of messages: one `settle` at a time; what arrives meanwhile goes with the
 * next. A call that fails is repeated for as long as the relay lives. What the storage refuses is
 * tried alone, so that it holds back nothing else, and recorded as well as the storage allows.
 */
export interface Settler {
  add(entry: Entry): void
  /** The last call failed and none has succeeded since: nobody should claim and publish more. */
  readonly troubled: boolean
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
  readonly storage: Pick<OutboxStorage<never>, 'settle'>
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
}

/**
 * How long a settlement that does not hurry waits. Long enough for the process to deal first with
 * what has arrived meanwhile, and for a few others to go along; short against the time in which a
 * crash would make a message be published again.
 */
const LINGER_MS = 2
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
  const { app, clock, random } = ports.environment
  const halted = new AbortController()
  const reports = createSettleReports(ports.environment)
  const unsettled = createUnsettled()
  let pause: AbortController | undefined
  let fresh: Entry[] = []
  let stubborn: Stubborn[] = []
  let working = false
  /** Calls that failed in a row. */
  let failures = 0

  /**
   * Returns what was thrown. `instead`: what is recorded in place of the settlement of the only
   * entry.
   */
  async function attempt(
    part: readonly Entry[],
    instead?: Settlement,
  ): Promise<{ readonly thrown: unknown } | undefined> {
    try {
      const { stale } = await ports.storage.settle(
        instead === undefined ? part.map(({ settlement }) => settlement) : [instead],
      )
      if (!halted.signal.aborted) succeeded(part, stale, instead)
      return undefined
    } catch (thrown) {
      failures++
      if (!halted.signal.aborted)
        reports.failed({ failures, messages: part.length, refused: isRefusal(thrown) }, thrown)
      return { thrown }
    }
  }

  function succeeded(part: readonly Entry[], stale: number, instead: Settlement | undefined): void {
    if (failures > 0) reports.again()
    failures = 0
    emit('mersal:settle', () => ({ app, messages: part.length, stale }))
    reports.stale(stale)
    // A confirmed message that was only set aside comes back, and is not to be published then.
    for (const { settlement, done } of part) {
      if (instead === undefined || instead.kind === 'sent') unsettled.settled(settlement)
      if (instead === undefined) done?.()
    }
    const gone =
      instead === undefined ? part : part.map((entry) => ({ ...entry, settlement: instead }))
    ports.onGone(gone, 'settled')
  }

  /**
   * What is new goes in one call. What fails twice is taken apart; a refusal is no outage and waits
   * for nothing.
   */
  async function settleFresh(): Promise<void> {
    const part = fresh
    fresh = []
    const failure = await attempt(part)
    if (failure === undefined || halted.signal.aborted) return
    if (isRefusal(failure.thrown) || failures > 1) await takeApart(part, failure.thrown)
    else fresh.unshift(...part)
    if (failures > 0) await clock.sleep(backoffMs(RETRY, failures, random), halted.signal)
  }

  async function takeApart(part: readonly Entry[], thrown: unknown): Promise<void> {
    const groups = KINDS.map((kind) =>
      part.filter(({ settlement }) => settlement.kind === kind),
    ).filter(({ length }) => length > 0)
    for (const group of groups) {
      const failure = groups.length === 1 ? { thrown } : await attempt(group)
      if (failure !== undefined) await oneByOne(group, failure.thrown)
    }
  }

  /** Ends with the first that fails for no reason of its own: the storage is away. */
  async function oneByOne(group: readonly Entry[], thrown: unknown): Promise<void> {
    for (const [index, entry] of group.entries()) {
      if (halted.signal.aborted) return
      const failure = group.length === 1 ? { thrown } : await attempt([entry])
      if (failure === undefined) continue
      await failedAlone({ entry, failures: 0, notBefore: 0 }, failure.thrown)
      if (isRefusal(failure.thrown)) continue
      fresh.unshift(...group.slice(index + 1))
      return
    }
  }

  async function failedAlone(one: Stubborn, thrown: unknown): Promise<void> {
    const { entry } = one
    one.failures++
    const refused = isRefusal(thrown)
    if (refused || (one.failures >= FAILURES_TO_GIVE_WAY && !isOutage(thrown))) {
      for (const instead of insteadOf(entry.settlement, thrown)) {
        if (instead.kind === 'sent' && !refused) continue
        if ((await attempt([entry], instead)) === undefined)
          return reports.refused(entry, instead, thrown)
      }
    }
    if (refused && clock.monotonic() >= entry.keepUntil) return drop(entry, thrown)
    one.notBefore =
      clock.monotonic() + backoffMs(refused ? STUBBORN_RETRY : RETRY, one.failures, random)
    stubborn.push(one)
  }

  /** Nothing can be recorded of this row, and its claim is over. */
  function drop(entry: Entry, thrown: unknown): void {
    reports.dropped(thrown)
    ports.onGone([entry], 'dropped')
  }

  async function settleStubborn(): Promise<void> {
    const now = clock.monotonic()
    const due = stubborn.filter(({ notBefore }) => notBefore <= now)
    stubborn = stubborn.filter(({ notBefore }) => notBefore > now)
    for (const one of due) {
      if (halted.signal.aborted) return
      const failure = await attempt([one.entry])
      if (failure !== undefined) await failedAlone(one, failure.thrown)
    }
    if (stubborn.length > 0 && fresh.length === 0)
      await rest(Math.min(...stubborn.map(({ notBefore }) => notBefore)) - clock.monotonic())
  }

  /** This long, or less if something comes that hurries. */
  async function rest(ms: number): Promise<void> {
    const over = new AbortController()
    pause = over
    await clock.sleep(Math.max(ms, 0), over.signal)
    pause = undefined
  }

  async function work(lingers: boolean): Promise<void> {
    if (lingers) await rest(LINGER_MS)
    else await Promise.resolve() // what is confirmed in this very moment goes along
    while (fresh.length + stubborn.length > 0 && !halted.signal.aborted) {
      if (fresh.length > 0) await settleFresh()
      else await settleStubborn()
    }
    working = false
  }

  return {
    get troubled() {
      return failures > 0
    },
    get halted() {
      return halted.signal.aborted
    },
    confirmed: (position, id) => unsettled.has(position, id),
    add(entry) {
      if (halted.signal.aborted) return
      fresh.push(entry)
      if (entry.settlement.kind === 'sent') unsettled.note(entry.settlement, entry.row.message.id)
      const lingers = entry.lingers === true
      if (!lingers || stubborn.length > 0) pause?.abort('hurry')
      if (working) return
      working = true
      void work(lingers)
    },
    halt() {
      halted.abort()
      pause?.abort('hurry')
    },
  }
}
