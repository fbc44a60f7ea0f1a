/** Checkers of how the processes behave. */
import type { Evidence, FaultLine } from './evidence.ts'
import { CLAIM_MS, GRACE_MS, isCluster } from '../plan.ts'
import { lifeOf, settlementsIn } from './evidence.ts'
import type { Checker } from './finding.ts'

const MIB = 2 ** 20
/** The tables after the drain and a VACUUM; rows of SQLite. */
const SIZE_LIMIT = 8 * MIB

const stuck: Checker = {
  check: 'stuck',
  says: 'not drained in time after everything had been healed',
  find: ({ stuck: found }) => found,
}

const overlaps = (one: FaultLine, faults: readonly FaultLine[]): boolean =>
  faults.some((other) => other !== one && other.from < one.to && other.to > one.from - 3000)

/** A millisecond clock in the database, and two clocks that need not agree to the last digit. */
const CLOCKS_MS = 5

interface Claim {
  readonly id: string
  readonly token: string
  readonly life: string
  /** It was made between these. */
  readonly from: number
  readonly to: number
  /** From then on anybody may take the row: the time is over, or it was given back. */
  readonly free: number
}

/**
 * By row, in the order of their answers. A position that was rolled back may belong to another
 * message later.
 */
function claimsIn({ lines }: Evidence): ReadonlyMap<string, readonly Claim[]> {
  const givenBack = new Map<string, number>()
  for (const { rows, at } of settlementsIn(lines)) {
    for (const [kind, position, token] of rows) {
      const claim = `${position} ${token}`
      if (kind !== 'sent') givenBack.set(claim, Math.min(at, givenBack.get(claim) ?? Infinity))
    }
  }
  const found = new Map<string, Claim[]>()
  for (const line of lines) {
    if ((line.op !== 'claim' && line.op !== 'save') || line.phase !== 'ok') continue
    const over = line.from + (line.op === 'save' ? GRACE_MS : CLAIM_MS) - CLOCKS_MS
    for (const [id, position, token] of line.rows) {
      const free = Math.min(over, givenBack.get(`${position} ${token}`) ?? Infinity)
      const row = `${position} ${id}`
      const list = found.get(row) ?? []
      list.push({ id, token, life: lifeOf(line), from: line.from, to: line.t, free })
      found.set(row, list)
    }
  }
  return found
}

/**
 * Two claims of one row at one time. Which of them came first is not known: both orders have to be
 * impossible.
 */
function early(evidence: Evidence): string[] {
  return [...claimsIn(evidence).values()].flatMap((claims) =>
    claims.slice(1).flatMap((claim, index) => {
      const before = claims[index]
      if (before === undefined || claim.to >= before.free || before.to >= claim.free) return []
      return [
        `${claim.id}: ${claim.life} took it ${Math.round(before.free - claim.to)} ms too early from ${before.life}`,
      ]
    }),
  )
}

const claimLeak: Checker = {
  check: 'claimLeak',
  says: 'a claim was taken or changed by somebody else, or outlived the good order of its owner',
  find(evidence) {
    const { truth, faults } = evidence
    const left = faults.flatMap((fault) => {
      const held =
        fault.name === 'term' ? Number(/exit 0, (\d+) rows/.exec(fault.detail)?.[1] ?? 0) : 0
      return held > 0 && !overlaps(fault, faults) ? [fault.detail] : []
    })
    return [...truth.intrusions, ...early(evidence), ...left]
  },
}

const stop: Checker = {
  check: 'stop',
  says: 'SIGTERM without any other fault did not end in exit 0 within the grace',
  find: ({ faults }) =>
    faults.flatMap((fault) =>
      fault.name === 'term' && !fault.detail.includes('exit 0') && !overlaps(fault, faults)
        ? [fault.detail]
        : [],
    ),
}

const died: Checker = {
  check: 'died',
  says: 'a process ended although nobody had ended it',
  find: ({ lines }) =>
    lines.flatMap((line) =>
      line.op === 'exit' && line.phase === 'fail' ? [`${line.of}#${line.ofLife}: ${line.how}`] : [],
    ),
}

const growth: Checker = {
  check: 'growth',
  says: 'the outbox did not shrink after the drain',
  find: ({ truth, store }) => {
    const size = truth.sizes['outbox'] ?? 0
    // Sagas that stay open have their timeouts there: rows on SQLite, bytes elsewhere.
    const open = truth.features?.timeouts.length ?? 0
    return size > (isCluster(store) ? SIZE_LIMIT : open) ? [`outbox: ${size}`] : []
  },
}

const secretCanary: Checker = {
  check: 'secretCanary',
  says: 'a password stood in an output',
  skipped: ({ store }) =>
    store === 'sqlite' || store === 'mysql' ? 'a file has no password' : undefined,
  find: ({ leaks }) => leaks,
}

export interface Recovery {
  readonly medianMs: number
  readonly mostMs: number
  readonly faults: number
}

/** While one of these lasts, nobody can publish. */
const outages =
  /^(?:database|broker)-|^(?:alarm|black-hole|read-only|(?:disk|data|wal|memory)-full)$/

/** When nothing of what was broken at the end of this fault is broken any more. */
const healedAt = ({ to }: FaultLine, faults: readonly FaultLine[]): number =>
  Math.max(
    to,
    ...faults.flatMap((other) =>
      outages.test(other.name) && other.from < to && other.to > to ? [other.to] : [],
    ),
  )

/** From each healed fault to the first confirmed publish after it, whatever began later. */
function recoveries({ faults, lines }: Evidence): { readonly name: string; readonly ms: number }[] {
  const confirms = lines.flatMap((line) =>
    line.op === 'publish' && line.phase === 'ok' ? [line.t] : [],
  )
  return faults.flatMap((fault) => {
    const from = healedAt(fault, faults)
    const first = confirms.find((at) => at >= from)
    return first === undefined || !fault.landed ? [] : [{ name: fault.name, ms: first - from }]
  })
}

export function recovery(evidence: Evidence): Recovery {
  const sorted = recoveries(evidence)
    .map(({ ms }) => Math.round(ms))
    .sort((a, b) => a - b)
  return {
    medianMs: sorted[Math.floor(sorted.length / 2)] ?? 0,
    mostMs: sorted.at(-1) ?? 0,
    faults: sorted.length,
  }
}

/** Promised are seconds; this much is red on any machine. */
const RECOVERY_MS = 16_000

const recovered: Checker = {
  check: 'recovery',
  says: `no publish was confirmed for ${RECOVERY_MS / 1000} s after a fault was healed`,
  find: (evidence) =>
    recoveries(evidence).flatMap(({ name, ms }) =>
      ms > RECOVERY_MS ? [`${name}: ${Math.round(ms)} ms`] : [],
    ),
}

export const processCheckers: readonly Checker[] = [
  stuck,
  claimLeak,
  stop,
  died,
  recovered,
  growth,
  secretCanary,
]
