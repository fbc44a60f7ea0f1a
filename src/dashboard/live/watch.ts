import type { AppHealth } from '../../app/health/health.ts'
import type { OutboxOverview, Pause } from '../../core/operations.ts'
import { systemClock } from '../../lib/async/clock.ts'
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
/** Rates over a longer time say nothing of now. */
const LONGEST_RATE_MS = 60_000

/**
 * Looks at one source for all who ask. Never rejects: one that is away says so, and is looked at
 * again, one look at a time.
 */
export function watch(source: Source): () => Promise<Watched> {
  const clock = systemClock
  let sight: Sight | undefined
  let before: { readonly at: number; readonly overview: OutboxOverview } | undefined
  let trouble: Watched['trouble']
  let looking: Promise<void> | undefined
  let notBefore = 0

  async function look(): Promise<void> {
    const began = clock.monotonic()
    try {
      const { overview, ...found } = await lookAt(source)
      const at = clock.monotonic()
      sight = { at: clock.now(), ...found, overview, rates: ratesOf(before, overview, at) }
      before = overview && { at, overview }
      trouble = undefined
    } catch (thrown) {
      trouble = { text: awayText(thrown), since: trouble?.since ?? clock.now() }
      before = undefined
    }
    const took = clock.monotonic() - began
    notBefore = clock.monotonic() + Math.max(SHORTEST_MS, took * REST_FACTOR)
  }

  return async () => {
    if (looking === undefined && clock.monotonic() >= notBefore)
      looking = look().finally(() => (looking = undefined))
    const health = await source.health?.()
    if (looking !== undefined && !(await fulfilledWithin(clock, LONGEST_WAIT_MS, looking)))
      trouble ??= { text: 'It has not answered yet.', since: clock.now() }
    return { source, health, sight, trouble }
  }
}

async function lookAt(source: Source): Promise<Pick<Sight, 'overview' | 'pauses' | 'queues'>> {
  await source.ready()
  const { overview, pauses } = source.store?.operations ?? {}
  const [counted, paused] = await Promise.all([
    overview?.({ keys: MOST_KEYS }),
    pauses?.list() ?? [],
  ])
  const place = { store: source.store ?? {}, transports: source.transports }
  const known = counted === undefined ? {} : { counted }
  const found = await queuesOf({ queues: source.queues }, [place], known)
  return { overview: counted, pauses: paused, queues: ownQueues(source, found) }
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
