import type { AppHealth } from '../../app/health/health.ts'
import type { OutboxOverview, Pause } from '../../core/operations.ts'
import { type Clock, systemClock } from '../../lib/async/clock.ts'
import { fulfilledWithin } from '../../lib/async/within.ts'
import { queuesOf, type TransportQueues } from '../../operate/queues.ts'
import { awayText } from '../http/problem.ts'
import type { Source } from '../sources.ts'

/** What was found when a source was looked at. */
export interface Sight {
  /** Milliseconds since the Unix epoch. */
  readonly at: number
  readonly overview: OutboxOverview | undefined
  readonly pauses: readonly Pause[]
  readonly queues: readonly TransportQueues[]
  /** Messages per second since the sight before. */
  readonly rates: { readonly added: number; readonly left: number } | undefined
}

export interface Watched {
  readonly source: Source
  readonly health: AppHealth | undefined
  /** The latest one, which may be old. */
  readonly sight: Sight | undefined
  /** Why there is no newer one, and since when. */
  readonly trouble: { readonly text: string; readonly since: number } | undefined
}

/** Keys come with every look. */
const MOST_KEYS = 50
/** However many ask, a source is looked at so often, and at most a tenth of the time. */
const SHORTEST_MS = 1000
const REST_FACTOR = 9
/** Whoever asks does not wait longer. */
const LONGEST_WAIT_MS = 3000
/** Figures of the database do not wait longer for queues, which then come with the next look. */
const FIRST_QUEUES_MS = 1000
/** Rates over a longer time say nothing of now. */
const LONGEST_RATE_MS = 60_000

/**
 * Looks at one source for all who ask. Never rejects: one that is away says so, and is looked at
 * again, one look at a time. Database and brokers are looked at apart, so that neither waits for
 * the other.
 */
export function watch(source: Source): () => Promise<Watched> {
  const clock = systemClock
  let figures: (Figures & Pick<Sight, 'at' | 'rates'>) | undefined
  let queues: Sight['queues'] | undefined
  let before: { readonly at: number; readonly overview: OutboxOverview } | undefined
  let trouble: Watched['trouble']

  const lookAtStore = inTurns(clock, async () => {
    try {
      await source.ready()
      const began = clock.monotonic()
      const found = await figuresOf(source)
      const at = clock.monotonic()
      const rates = ratesOf(before, found.overview, at)
      figures = { at: clock.now(), ...found, rates }
      before = found.overview && { at, overview: found.overview }
      trouble = undefined
      return at - began
    } catch (thrown) {
      trouble = { text: awayText(thrown), since: trouble?.since ?? clock.now() }
      before = undefined
      return 0
    }
  })
  const lookAtBrokers = inTurns(clock, async () => {
    // What the database knows of queues comes first.
    if (figures === undefined) await lookAtStore()
    const began = clock.monotonic()
    queues = await queuesSeen(source, figures?.overview)
    return clock.monotonic() - began
  })

  return async () => {
    const store = lookAtStore()
    const brokers = lookAtBrokers()
    const health = await source.health?.()
    if (!(await fulfilledWithin(clock, LONGEST_WAIT_MS, store)))
      trouble ??= { text: 'It has not answered yet.', since: clock.now() }
    else if (queues === undefined) await fulfilledWithin(clock, FIRST_QUEUES_MS, brokers)
    const sight = figures && { ...figures, queues: queues ?? [] }
    return { source, health, sight, trouble }
  }
}

/**
 * One look at a time, not too often, and at most a tenth of the time. `look` never rejects and says
 * what it has cost, in milliseconds.
 */
function inTurns(clock: Clock, look: () => Promise<number>): () => Promise<void> {
  let looking: Promise<void> | undefined
  let notBefore = 0
  const once = async (): Promise<void> => {
    const costMs = await look()
    notBefore = clock.monotonic() + Math.max(SHORTEST_MS, costMs * REST_FACTOR)
    looking = undefined
  }
  return () => {
    if (looking === undefined && clock.monotonic() >= notBefore) looking = once()
    return looking ?? Promise.resolve()
  }
}

type Figures = Pick<Sight, 'overview' | 'pauses'>

async function figuresOf(source: Source): Promise<Figures> {
  const { overview, pauses } = source.store?.operations ?? {}
  const [counted, paused] = await Promise.all([
    overview?.({ keys: MOST_KEYS }),
    pauses?.list() ?? [],
  ])
  return { overview: counted, pauses: paused }
}

/** Never rejects: what cannot be looked at says so. */
async function queuesSeen(
  source: Source,
  counted: OutboxOverview | undefined,
): Promise<Sight['queues']> {
  const place = { store: source.store ?? {}, transports: source.transports }
  const known = counted === undefined ? {} : { counted }
  try {
    return ownQueues(source, await queuesOf({ queues: source.queues }, [place], known))
  } catch (thrown) {
    const problem = awayText(thrown)
    return [...source.transports.keys()].map((transport) => ({ transport, queues: [], problem }))
  }
}

/** Of apps that share a broker, each shows its own queue. */
function ownQueues(
  { kind, queues: names }: Source,
  found: readonly TransportQueues[],
): readonly TransportQueues[] {
  if (kind === 'store') return found
  return found.map((one) => ({
    ...one,
    queues: one.queues.filter(({ queue }) => names.includes(queue)),
  }))
}

function ratesOf(
  before: { readonly at: number; readonly overview: OutboxOverview } | undefined,
  overview: OutboxOverview | undefined,
  at: number,
): Sight['rates'] {
  if (before?.overview.added === undefined || overview?.added === undefined) return undefined
  const ms = at - before.at
  if (ms > LONGEST_RATE_MS || ms < 1) return undefined
  const added = overview.added - before.overview.added
  const grown = overview.pending + overview.dead - before.overview.pending - before.overview.dead
  const perSecond = (count: number): number => Math.round((Math.max(0, count) / ms) * 10_000) / 10
  return { added: perSecond(added), left: perSecond(added - grown) }
}
