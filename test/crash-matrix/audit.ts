/**
 * Looks at a finished cell with plain SQL and a plain client of the broker, and counts what must
 * not be.
 */
import { isLogToken } from '../../src/core/commit-log.ts'
import type { MessagesLeft } from './brokers/broker.ts'
import type { TablesLeft } from './databases/database.ts'
import { committed, goesNowhere, keysOf, isPoison, nameOf, type Part, topics } from './plan.ts'

export interface Copy extends Part {
  readonly id: string
  readonly topic: string
}

/** What is there after the drain. */
export interface Remains extends Omit<TablesLeft, 'open'>, Omit<MessagesLeft, 'left'> {
  /** Rows and messages that somebody still holds, or that lie where nothing should. */
  readonly left: readonly string[]
}

export interface Expected {
  readonly straight: boolean
  /** Ids, one for each publish that ended without an answer. */
  readonly unknown: readonly string[]
  /** Names of the connections of processes that died. */
  readonly victims: readonly string[]
  /** Dead letters of the outbox, of the queue, that are there at the end. */
  readonly outgoingLetters: boolean
  readonly incomingLetters: 'there' | 'handled' | 'discarded'
}

export interface Findings {
  readonly lost: readonly string[]
  readonly phantom: readonly string[]
  readonly duplicateEffects: readonly string[]
  readonly missingEffects: readonly string[]
  readonly reordered: readonly string[]
  /** More copies than deaths, and claims that ran out, explain. */
  readonly tooManyCopies: readonly string[]
  readonly inbox: readonly string[]
  readonly left: readonly string[]
}

export interface Counts {
  readonly messages: number
  /** Copies on the broker beyond the first of each message. */
  readonly duplicates: number
  /** How many of them deaths and lost claims would explain. */
  readonly bound: number
  /** Claims that somebody took over from a process that was alive. */
  readonly lostClaims: number
}

const times = (names: readonly string[]): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

const eventsOf = (number: number): Part[] => keysOf(number).map((_, part) => ({ number, part }))
const wanted = committed.flatMap(eventsOf)
const poison = (part: Part): boolean => isPoison(part.number) && part.part === 0

export function audit(
  remains: Remains,
  expected: Expected,
): { readonly findings: Findings; readonly counts: Counts } {
  const { registered, billed } = byTopic(remains.tap)
  const effects = remains.effects.map(nameOf)
  const handled = wanted
    .filter((part) => expected.incomingLetters === 'handled' || !poison(part))
    .map(nameOf)
  const there = new Set(remains.students)
  const claims = claimsOf(remains, expected)
  const findings: Findings = {
    lost: [
      ...committed.filter((number) => !there.has(number)).map((number) => `transaction ${number}`),
      ...missing(wanted.map(nameOf), registered.map(nameOf), 'the broker'),
      ...missing([...new Set(effects)], billed.map(nameOf), 'the broker, billed'),
      ...lettersLost(remains, expected),
    ],
    phantom: [
      ...remains.students
        .filter((number) => !committed.includes(number))
        .map((number) => `transaction ${number}`),
      ...registered.map(nameOf).filter((name) => !wanted.some((part) => nameOf(part) === name)),
      ...billed.map(nameOf).filter((name) => !effects.includes(name)),
      ...twoIds(remains.tap),
    ],
    duplicateEffects: [...times(effects)].filter(([, count]) => count > 1).map(([name]) => name),
    missingEffects: missing(handled, effects, 'the effects'),
    reordered: reordered(registered, remains.students),
    tooManyCopies: [...times(remains.tap.map(({ id }) => id))].flatMap(([id, count]) => {
      const bound = boundOf(id, claims, expected)
      return count > bound ? [`${id}: ${count} copies, ${bound} explained`] : []
    }),
    inbox: [
      ...missing(
        remains.effects.map(({ message }) => message),
        remains.inbox,
        'the inbox',
      ),
      ...missing(
        remains.inbox,
        remains.effects.map(({ message }) => message),
        'the effects, but in the inbox',
      ),
    ],
    left: remains.left,
  }
  const counts = {
    messages: new Set(remains.tap.map(({ id }) => id)).size,
    duplicates: remains.tap.length - new Set(remains.tap.map(({ id }) => id)).size,
    bound: [...new Set(remains.tap.map(({ id }) => id))].reduce(
      (sum, id) => sum + boundOf(id, claims, expected) - 1,
      0,
    ),
    lostClaims: [...claims.lost.values()].reduce((sum, each) => sum + each, 0),
  }
  return { findings, counts }
}

const missing = (names: readonly string[], from: readonly string[], where: string): string[] => {
  const found = new Set(from)
  return names.filter((name) => !found.has(name)).map((name) => `${name} is not in ${where}`)
}

function byTopic(tap: readonly Copy[]): {
  readonly registered: readonly Copy[]
  readonly billed: readonly Copy[]
} {
  return {
    registered: tap.filter(({ topic }) => topic === topics.registered),
    billed: tap.filter(({ topic }) => topic === topics.billed),
  }
}

/** One message that arrived under two ids is one that nobody committed. */
function twoIds(tap: readonly Copy[]): string[] {
  const ids = new Map<string, Set<string>>()
  for (const copy of tap) {
    const name = `${copy.topic} ${nameOf(copy)}`
    ids.set(name, (ids.get(name) ?? new Set()).add(copy.id))
  }
  return [...ids].filter(([, each]) => each.size > 1).map(([name]) => `${name} has two ids`)
}

/** Given up, and neither a dead letter nor (after the operator) where it belongs. */
function lettersLost(remains: Remains, expected: Expected): string[] {
  const outgoing = committed.filter(goesNowhere).map((number) => nameOf({ number, part: 2 }))
  const incoming = wanted.filter(poison).map(nameOf)
  const [dead, nowhere, back] = [remains.deadOutgoing, remains.nowhere, remains.deadIncoming].map(
    (parts) => parts.map(nameOf),
  )
  return [
    ...missing(
      outgoing,
      (expected.outgoingLetters ? dead : nowhere) ?? [],
      expected.outgoingLetters ? 'the dead letters' : 'its queue',
    ),
    ...(expected.incomingLetters === 'there'
      ? missing(incoming, back ?? [], 'the dead letters of the queue')
      : []),
    ...(expected.incomingLetters !== 'there' && (back ?? []).length > 0
      ? [`${back?.length} letters are still there`]
      : []),
  ]
}

/** First arrivals of each key against the order of the commits. */
function reordered(registered: readonly Copy[], students: readonly number[]): string[] {
  const order = new Map(students.map((number, index) => [number, index]))
  const last = new Map<string, number>()
  const seen = new Set<string>()
  return registered.flatMap((copy) => {
    const key = keysOf(copy.number)[copy.part]
    const place = order.get(copy.number)
    if (key === undefined || place === undefined || seen.has(nameOf(copy))) return []
    seen.add(nameOf(copy))
    const before = last.get(key) ?? -1
    last.set(key, Math.max(place, before))
    return place < before ? [`${nameOf(copy)} of key ${key}`] : []
  })
}

/**
 * Once without a fault, and once more for each death, lost claim and missing answer that hit this
 * very message.
 */
function boundOf(id: string, { hit, lost, unknown }: Claims, { straight }: Expected): number {
  return straight ? 1 : 1 + (hit.get(id) ?? 0) + (lost.get(id) ?? 0) + (unknown.get(id) ?? 0)
}

/** For each message. */
interface Claims {
  /** How many of its claims ended with the death of their owner. */
  readonly hit: ReadonlyMap<string, number>
  /** How many were taken over from a living process. */
  readonly lost: ReadonlyMap<string, number>
  readonly unknown: ReadonlyMap<string, number>
}

function claimsOf({ takes }: Remains, { victims, unknown }: Expected): Claims {
  const owners = new Map(takes.map(({ token, owner }) => [token, owner]))
  const over = takes.filter(({ former }) => former !== null)
  // A row that was written for the log is in the hands of whoever reads it.
  const isReader = (name: string): boolean => name.startsWith('relay')
  const dead = ({ former }: Remains['takes'][number]): boolean =>
    isLogToken(former ?? '')
      ? victims.some(isReader)
      : victims.includes(owners.get(former ?? '') ?? '')
  const ids = (some: Remains['takes']): string[] => some.map(({ id }) => id)
  return {
    hit: times(ids(over.filter(dead))),
    lost: times(ids(over.filter((take) => !dead(take)))),
    unknown: times(unknown),
  }
}
