/** Checkers of what became of the messages: the database against the tap. */
import { topics } from '../plan.ts'
import { NOTE } from '../producer.ts'
import type { Line } from '../history.ts'
import type { Truth } from '../places/place.ts'
import type { Evidence } from './evidence.ts'
import type { Checker } from './finding.ts'

const lost: Checker = {
  check: 'lost',
  says: 'committed, and neither on the broker nor a dead letter; or delivered and never handled',
  find({ truth, copies, wiped }) {
    const effects = new Set(truth.effects.map(({ id }) => id))
    return truth.committed.flatMap(({ id, topic }) => {
      if (truth.dead.has(id)) return []
      if (!copies.has(id) && !effects.has(id)) return [`${id} was never published`]
      return topic === topics.booked && !effects.has(id) && !wiped.has(id)
        ? [`${id} has no effect`]
        : []
    })
  },
}

const undone = ({ transactions }: Evidence): ReadonlySet<string> =>
  new Set(transactions.filter(({ outcome }) => outcome === 'fail').flatMap(({ ids }) => ids))

const strangers = ({ truth, copies }: Evidence): string[] => {
  const committed = new Set(truth.committed.map(({ id }) => id))
  return [...copies.keys()].filter((id) => !committed.has(id))
}

const phantom: Checker = {
  check: 'phantom',
  says: 'on the broker, and in no transaction that is still there',
  find(evidence) {
    const known = undone(evidence)
    return strangers(evidence).filter((id) => !known.has(id))
  },
}

const rolledBackLeak: Checker = {
  check: 'rolledBackLeak',
  says: 'published although its transaction was rolled back',
  find(evidence) {
    const known = undone(evidence)
    return strangers(evidence).filter((id) => known.has(id))
  },
}

const torn: Checker = {
  check: 'torn',
  says: 'a business row without its outbox row in the same transaction, or the other way round',
  find: ({ truth }) => truth.torn,
}

const honesty: Checker = {
  check: 'honesty',
  says: 'the answer to a transaction, or to a publish, was not what happened',
  find({ transactions, truth, lines, copies, publishes }) {
    const committed = new Set(truth.committed.map(({ id }) => id))
    // Relaxed commits may be lost with the server, as a whole; phantom sees them if they were
    // published.
    const crashed = lines.some(
      (line) => line.op === 'fault' && /crash|wal-full|failover/.test(line.name),
    )
    const wrong = transactions.flatMap(({ ids, before, outcome, proc, kind }): string[] => {
      const there = ids.filter((id) => committed.has(id)).length
      if (before.some((id) => committed.has(id)) && there > 0)
        return [`${proc} (${kind}): committed twice: ${before[0]}, ${ids[0]}`]
      const relaxed = proc === 'producer-2' && crashed
      if (there > 0 && there < ids.length)
        return [`${proc} (${kind}): ${there} of ${ids.length} messages are there`]
      if (outcome === 'ok' && there < ids.length && !relaxed)
        return [`${proc} (${kind}): said committed, is not there: ${ids[0]}`]
      return outcome === 'fail' && there > 0
        ? [`${proc} (${kind}): said rolled back, is there: ${ids[0]}`]
        : []
    })
    const denied = [...copies].flatMap(([id, all]) =>
      all
        .filter(({ publish }) => publishes.get(publish)?.answer?.kind === 'unavailable')
        .map(() => `${id} arrived, but was called unavailable`),
    )
    return [...wrong, ...denied]
  },
}

const early: Checker = {
  check: 'early',
  says: 'published before its transaction was committed',
  find({ transactions, truth, copies, publishes }) {
    const earliest = new Map(
      transactions.flatMap(({ ids, at }) => ids.map((id) => [id, at] as const)),
    )
    for (const { id, at } of truth.committed)
      if (at !== undefined) earliest.set(id, at - CLOCKS_AGREE_MS)
    return [...copies].flatMap(([id, all]) =>
      all.flatMap(({ publish }) => {
        const at = publishes.get(publish)?.at
        const limit = earliest.get(id)
        return at !== undefined && limit !== undefined && at < limit
          ? [`${id}: ${(limit - at).toFixed(1)} ms`]
          : []
      }),
    )
  },
}

/** The server gives wall time; the harness turns it into monotonic time. */
const CLOCKS_AGREE_MS = 20

const fidelity: Checker = {
  check: 'fidelity',
  says: 'body or headers arrived otherwise than they were sent',
  find({ truth }) {
    const sent = new Map(truth.committed.map(({ id, digest }) => [id, digest]))
    const changed = (where: string, id: string, digest: string): string[] =>
      sent.has(id) && sent.get(id) !== digest ? [`${id}: body at ${where}`] : []
    return [
      ...truth.arrivals.flatMap(({ id, digest, topic, note }) => [
        ...changed('the tap', id, digest),
        ...(topic === topics.booked && note !== NOTE ? [`${id}: header is '${note}'`] : []),
      ]),
      ...truth.effects.flatMap(({ id, digest }) => changed('the handler', id, digest)),
    ]
  },
}

const blameless: Checker = {
  check: 'blameless',
  says: 'a dead letter, although no fault was one of that message',
  find: ({ truth, doomed }) => [...truth.dead].filter((id) => !doomed.has(id)),
}

/** Letters that an operator has discarded were dead letters as well. */
export function withDiscarded(truth: Truth, lines: readonly Line[]): Truth {
  const discarded = lines.flatMap((line) => (line.op === 'letter' ? [line.letter.id] : []))
  return { ...truth, dead: new Set([...truth.dead, ...discarded]) }
}

const letters: Checker = {
  check: 'letters',
  says: 'a dead letter had not the bytes that were sent, or was given up for another reason',
  find: ({ lines }) =>
    lines.flatMap((line) => {
      if (line.op !== 'letter') return []
      const { letter, sent, reason = letter.reason } = line
      const whole = letter.bytes === sent.bytes && letter.digest === sent.digest
      return whole && letter.reason === reason
        ? []
        : [`${letter.id}: ${letter.bytes} bytes of ${sent.bytes}, ${letter.reason}`]
    }),
}

export const messageCheckers: readonly Checker[] = [
  lost,
  phantom,
  rolledBackLeak,
  torn,
  honesty,
  early,
  fidelity,
  blameless,
  letters,
]
