/** Checkers of how often, and in which order. */
import { isCluster } from '../plan.ts'
import type { Committed } from '../places/place.ts'
import type { Evidence, Publish } from './evidence.ts'
import { settlementsIn } from './evidence.ts'
import type { Checker } from './finding.ts'

export type Cause = 'crash' | 'unknown' | 'lost claim' | 'refused' | 'proper'

/** Why a copy may not have been the last one. `proper`: it should have been. */
export function causeOf(
  publish: Publish | undefined,
  { settled, ended }: Pick<Evidence, 'settled' | 'ended'>,
): Cause {
  if (publish === undefined) return 'proper'
  const [, position, token] = publish.held
  const kind = publish.answer?.kind
  if (kind === 'confirmed' && settled.has(`${position} ${token}`)) return 'proper'
  if (kind === 'unknown') return 'unknown'
  if (kind === 'refused') return 'refused'
  if (ended.has(publish.life)) return 'crash'
  return kind === undefined ? 'unknown' : 'lost claim'
}

const dupBound: Checker = {
  check: 'dupBound',
  says: 'published again without a crash, a lost claim or an unknown confirm that explains it',
  find(evidence) {
    return [...evidence.copies].flatMap(([id, all]) => {
      const proper = all.filter(
        ({ publish }) => causeOf(evidence.publishes.get(publish), evidence) === 'proper',
      )
      return proper.slice(1).map(({ publish }) => `${id}: ${publish} after ${proper[0]?.publish}`)
    })
  },
}

/** How many copies too many there were, by the cause of the copy that was not the last. */
export function duplicates(evidence: Evidence): {
  readonly surplus: number
  readonly causes: Readonly<Record<string, number>>
} {
  const causes: Record<string, number> = {}
  let surplus = 0
  for (const all of evidence.copies.values()) {
    surplus += all.length - 1
    if (all.length === 1) continue
    for (const { publish } of all) {
      const cause = causeOf(evidence.publishes.get(publish), evidence)
      if (cause !== 'proper') causes[cause] = (causes[cause] ?? 0) + 1
    }
  }
  return { surplus, causes }
}

const unconfirmed: Checker = {
  check: 'unconfirmed',
  says: 'recorded as sent without a confirm before it: of that very publish, or of one of the same row by the same process',
  find({ lines, publishes }) {
    const confirmed = new Map<string, number>()
    const note = (name: string, at: number): void =>
      void confirmed.set(name, Math.min(at, confirmed.get(name) ?? Infinity))
    for (const { held, answer, life } of publishes.values()) {
      if (answer?.kind !== 'confirmed') continue
      note(`${held[1]} ${held[2]}`, answer.at)
      // While settling fails, a relay remembers what was confirmed, and does not publish it again.
      note(`${held[1]} of ${life}`, answer.at)
    }
    const before = (name: string, at: number): boolean => (confirmed.get(name) ?? Infinity) <= at
    return settlementsIn(lines).flatMap(({ rows, at, life }) =>
      rows.flatMap(([kind, position, token]) =>
        kind === 'sent' &&
        !before(`${position} ${token}`, at) &&
        !before(`${position} of ${life}`, at)
          ? [`position ${position} by ${life}`]
          : [],
      ),
    )
  },
}

const dupEffect: Checker = {
  check: 'dupEffect',
  says: 'a handler took effect twice for one message',
  find({ truth }) {
    const groups = Map.groupBy(truth.effects, ({ id }) => id)
    return [...groups].flatMap(([id, all]) =>
      all.length > 1 ? [`${id}: ${all.length} times`] : [],
    )
  },
}

/** First occurrences of one key that came after something that was committed later. */
function inversions(committed: readonly Committed[], ids: Iterable<string>): string[] {
  const order = new Map(committed.map(({ id, key }, index) => [id, { key, index }]))
  const last = new Map<string, { readonly id: string; readonly index: number }>()
  const found: string[] = []
  for (const id of ids) {
    const place = order.get(id)
    if (place?.key === undefined) continue
    const before = last.get(place.key)
    if (before !== undefined && place.index < before.index)
      found.push(`${id} after ${before.id} (${place.key})`)
    else last.set(place.key, { id, index: place.index })
  }
  return found
}

const reorderTap: Checker = {
  check: 'reorderTap',
  says: 'messages of one key reached the broker otherwise than they were committed (first copies)',
  find: ({ truth, copies }) => inversions(truth.committed, copies.keys()),
}

const reorderEffect: Checker = {
  check: 'reorderEffect',
  says: 'messages of one key were handled otherwise than they were committed',
  skipped: ({ store }) =>
    isCluster(store) && store !== 'kafka'
      ? 'several consumers of one queue of a broker handle messages of a key at the same time; no order is promised'
      : undefined,
  find: ({ truth }) => inversions(truth.committed, new Set(truth.effects.map(({ id }) => id))),
}

export const copyCheckers: readonly Checker[] = [
  dupBound,
  unconfirmed,
  dupEffect,
  reorderTap,
  reorderEffect,
]
