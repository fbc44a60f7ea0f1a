/** The history of a run, arranged for the checkers. */
import type { Held, Line } from '../history.ts'
import type { StoreKind } from '../plan.ts'
import type { Arrival, Truth } from '../places/place.ts'

export interface Publish {
  readonly number: string
  readonly held: Held
  readonly at: number
  readonly life: string
  readonly answer: { readonly kind: string; readonly at: number } | undefined
}

export interface Transaction {
  readonly life: string
  readonly proc: string
  readonly kind: string
  readonly ids: readonly string[]
  /** When its messages had been given to Mersal; the commit came after it. */
  readonly at: number
  readonly outcome: 'ok' | 'fail' | 'info'
  /** What earlier runs of the same work wrote. */
  readonly before: readonly string[]
}

export interface FaultLine {
  readonly name: string
  readonly detail: string
  readonly from: number
  readonly to: number
  readonly landed: boolean
}

export interface Evidence {
  readonly store: StoreKind
  readonly truth: Truth
  readonly lines: readonly Line[]
  readonly faults: readonly FaultLine[]
  readonly publishes: ReadonlyMap<string, Publish>
  readonly transactions: readonly Transaction[]
  /**
   * `position token` of what was recorded as sent, by a settlement that was answered and not stale.
   */
  readonly settled: ReadonlySet<string>
  /** `process#life` of those that were killed or ended. */
  readonly ended: ReadonlySet<string>
  readonly wiped: ReadonlySet<string>
  /** Messages that must become dead letters. */
  readonly doomed: ReadonlySet<string>
  /** Not empty if the run did not come to rest. */
  readonly stuck: readonly string[]
  /** Texts in which secrets were found. */
  readonly leaks: readonly string[]
  /** Copies of each message, in the order of the broker. */
  readonly copies: ReadonlyMap<string, readonly Arrival[]>
}

export const lifeOf = ({ proc, life }: Pick<Line, 'proc' | 'life'>): string => `${proc}#${life}`

export function publishesIn(lines: readonly Line[]): ReadonlyMap<string, Publish> {
  const found = new Map<string, Publish>()
  for (const line of lines) {
    if (line.op !== 'publish') continue
    if (line.phase === 'invoke') {
      found.set(line.publish, {
        number: line.publish,
        held: line.held,
        at: line.t,
        life: lifeOf(line),
        answer: undefined,
      })
    } else {
      const publish = found.get(line.publish)
      if (publish !== undefined)
        found.set(line.publish, { ...publish, answer: { kind: line.kind, at: line.t } })
    }
  }
  return found
}

export function transactionsIn(lines: readonly Line[]): readonly Transaction[] {
  const found = new Map<string, Transaction>()
  for (const line of lines) {
    if (line.op !== 'tx') continue
    const name = `${lifeOf(line)} ${line.tx}`
    if (line.phase === 'invoke') {
      const earlier = found.get(name)
      const before = earlier === undefined ? [] : [...earlier.before, ...earlier.ids]
      found.set(name, {
        life: lifeOf(line),
        proc: line.proc,
        kind: line.kind,
        ids: line.ids,
        at: line.t,
        outcome: 'info',
        before,
      })
    } else {
      const transaction = found.get(name)
      if (transaction !== undefined) found.set(name, { ...transaction, outcome: line.phase })
    }
  }
  return [...found.values()]
}

export interface Settlement {
  readonly life: string
  readonly at: number
  readonly rows: readonly (readonly [kind: string, position: string, token: string])[]
  readonly outcome: 'ok' | 'stale' | 'fail' | 'none'
  /** How many of them changed nothing. */
  readonly stale: number
}

export function settlementsIn(lines: readonly Line[]): readonly Settlement[] {
  const found = new Map<string, Settlement>()
  for (const line of lines) {
    if (line.op !== 'settle') continue
    const name = `${lifeOf(line)} ${line.call}`
    if (line.phase === 'invoke')
      found.set(name, {
        life: lifeOf(line),
        at: line.t,
        rows: line.rows,
        outcome: 'none',
        stale: 0,
      })
    else {
      const settlement = found.get(name)
      const outcome = line.phase === 'fail' ? 'fail' : line.stale > 0 ? 'stale' : 'ok'
      if (settlement !== undefined) found.set(name, { ...settlement, outcome, stale: line.stale })
    }
  }
  return [...found.values()]
}

export function faultsIn(lines: readonly Line[]): readonly FaultLine[] {
  const open = new Map<string, number>()
  const found: FaultLine[] = []
  for (const line of lines) {
    if (line.op !== 'fault') continue
    if (line.phase === 'invoke') open.set(line.name, line.t)
    else if (open.has(line.name)) {
      found.push({
        name: line.name,
        detail: line.detail,
        from: open.get(line.name) ?? 0,
        to: line.t,
        landed: line.phase === 'ok',
      })
      open.delete(line.name)
    }
  }
  return found
}
