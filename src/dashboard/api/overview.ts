import type { DestinationOverview, OutboxOverview } from '../../core/operations.ts'
import { withoutSecrets } from '../../lib/secrets.ts'
import { heaviest } from '../../metrics/bounded-labels.ts'
import { withDeadLetters } from '../../operate/queues.ts'
import type { Sight, Watched } from '../live/watch.ts'
import type { Call, Route, Schema } from './route.ts'
import { flag, list, number, object, orNull, text, time } from './schemas.ts'

/** Most queues of consumers that are named, the ones with most dead letters first. */
const MOST_QUEUES = 100

const counts = {
  pending: number,
  due: number,
  claimed: number,
  dead: number,
  refused: number,
  oldestMs: number,
  overdueMs: number,
  behindMs: number,
}
const destination = object({ destination: text, ...counts, lastError: orNull(text) })
const key = object({ key: text, pending: number, oldestMs: number, blocked: flag })
export const pauseSchema: Schema = object({ kind: text, name: text, since: time, reason: text })
const queue = object({
  transport: text,
  queue: text,
  dead: number,
  waiting: number,
  consumers: orNull(number),
})
const part = object({ part: text, name: text, status: text, reason: orNull(text) })

const source = object({
  name: text,
  kind: text,
  store: orNull(text),
  trouble: orNull(object({ kind: text, text, since: time })),
  seenAt: orNull(time),
  counts: orNull(object({ ...counts, kept: number, rowsRead: orNull(number) })),
  rates: orNull(object({ added: number, left: number })),
  destinations: list(destination),
  moreDestinations: number,
  keys: list(key),
  pauses: list(pauseSchema),
  queues: list(queue),
  queueTroubles: list(object({ transport: text, text })),
  health: orNull(object({ status: text, parts: list(part) })),
  offers: object({ pauses: flag, sagas: flag, letters: flag, refused: flag }),
})

export const overview: Route = {
  method: 'GET',
  path: 'overview',
  summary: 'What waits, how fast it moves, what is dead, paused or away, by source.',
  fields: {},
  answer: object({ at: time, sources: list(source) }),
  run: async ({ desk }) => overviewOf(await desk.watched()),
}

export function overviewOf(watched: readonly Watched[]): object {
  return { at: Date.now(), sources: watched.map(sourceView) }
}

function sourceView({ source: from, health, sight, trouble }: Watched): object {
  const { name, kind, store } = from
  return {
    name,
    kind,
    store: store?.name ?? null,
    trouble: trouble ?? null,
    health: health === undefined ? null : healthView(health),
    offers: {
      pauses: store?.operations?.pauses !== undefined,
      sagas: store?.sagas !== undefined,
      letters: store !== undefined,
      refused: store?.operations?.refused !== undefined,
    },
    ...sightView(sight),
  }
}

function healthView({ status, parts }: NonNullable<Watched['health']>): object {
  return {
    status,
    parts: parts.map(({ part, name, status: of, reason = null }) => ({
      part,
      name,
      status: of,
      reason,
    })),
  }
}

function sightView({ overview: found, rates, at, pauses, queues }: Sight): object {
  const { shown, others } = heaviest(
    found?.destinations ?? [],
    ({ pending, dead }) => pending + dead * 1e6,
  )
  return {
    seenAt: at ?? null,
    counts:
      found === undefined
        ? null
        : { ...countsOf(found), kept: found.kept, rowsRead: found.rowsRead ?? null },
    rates: rates ?? null,
    destinations: shown.map(destinationView),
    moreDestinations: others.length,
    keys: (found?.keys ?? []).map(({ key, pending, oldestMs, blocked }) => ({
      key,
      pending,
      oldestMs,
      blocked,
    })),
    pauses: pauses.map(({ kind, name, since, reason }) => ({
      kind,
      name,
      since,
      reason: withoutSecrets(reason),
    })),
    ...queuesView(queues),
  }
}

function countsOf(row: OutboxOverview | DestinationOverview): object {
  const { pending, due, claimed, dead, oldestMs, oldestDueMs, refused = 0 } = row
  const behindMs = row.waitingMs ?? oldestDueMs
  return { pending, due, claimed, dead, refused, oldestMs, overdueMs: oldestDueMs, behindMs }
}

function destinationView(row: DestinationOverview): object {
  const lastError = row.lastError === undefined ? null : withoutSecrets(row.lastError)
  return { destination: row.destination, ...countsOf(row), lastError }
}

function queuesView(found: Sight['queues']): object {
  const dead = withDeadLetters(found)
  const named = new Set(dead.map(({ transport, queue }) => `${transport}/${queue}`))
  const quiet = found.flatMap(({ transport, queues }) =>
    queues
      .filter(({ queue }) => !named.has(`${transport}/${queue}`))
      .map((one) => ({ transport, ...one })),
  )
  return {
    queues: [...dead, ...quiet]
      .slice(0, MOST_QUEUES)
      .map(({ transport, queue: of, dead: given, waiting, consumers = null }) => ({
        transport,
        queue: of,
        dead: given,
        waiting,
        consumers,
      })),
    queueTroubles: found.flatMap(({ transport, problem }) =>
      problem === undefined ? [] : [{ transport, text: 'Its queues cannot be looked at now.' }],
    ),
  }
}

export const me: Route = {
  method: 'GET',
  path: 'me',
  summary: 'What you may do, and what there is.',
  fields: {},
  answer: object({
    rights: list(text),
    sources: list(object({ name: text, kind: text })),
    remembers: flag,
  }),
  run: async ({ desk, rights }: Call) => ({
    rights: [...rights],
    sources: desk.sources.map(({ name, kind }) => ({ name, kind })),
    remembers: desk.sources.some(({ kind }) => kind === 'app'),
  }),
}
