import type { AppHealth } from '../../app/health/health.ts'
import type { OutboxOverview, Pause } from '../../core/operations.ts'
import { type Clock, systemClock } from '../../lib/async/clock.ts'
import { fulfilledWithin } from '../../lib/async/within.ts'
import { queuesOf, type TransportQueues } from '../../operate/queues.ts'
import { awayText, isBusy } from '../http/problem.ts'
import type { Source } from '../sources.ts'

/** What was found when a source was looked at. */
export interface Sight {
  /** When the outbox was counted, in milliseconds since the Unix epoch; undefined: not yet. */
  readonly at: number | undefined
  readonly overview: OutboxOverview | undefined
  readonly pauses: readonly Pause[]
  readonly queues: readonly TransportQueues[]
  /** Messages per second since the sight before. */
  readonly rates: { readonly added: number; readonly left: number } | undefined
}

export interface Watched {
  readonly source: Source
  readonly health: AppHealth | undefined
  /** The latest one, which may be old, and of which a part may be missing. */
  readonly sight: Sight
  /** Why there is no newer one, and since when. */
  readonly trouble: Trouble | undefined
}

export interface Trouble {
  /** `slow`: it answers, but not in time. */
  readonly kind: 'away' | 'slow'
  readonly text: string
  readonly since: number
}

/** Keys come with every look. */
const MOST_KEYS = 50
/** However many ask, a source is looked at so often, and at most a tenth of the time. */
const SHORTEST_MS = 1000
const REST_FACTOR = 9
/** After one that has ended in vain: somebody waits for the next one. */
const LONGEST_REST_MS = 30_000
/** After a broker did not answer: it comes back at any moment. */
const AWAY_REST_MS = 3000
/** Whoever asks does not wait longer. */
const LONGEST_WAIT_MS = 3000
/** Figures of the database do not wait longer for queues, which then come with the next look. */
const FIRST_QUEUES_MS = 1000
/** Rates over a longer time say nothing of now. */
const LONGEST_RATE_MS = 60_000

/**
 * Looks at one source for all who ask. Never rejects: one that is away says so, and is looked at
 * again, one look at a time. The outbox, pauses and brokers are looked at apart, so that none of
 * them waits for another, and the page has what can be had while the outbox cannot be counted.
 */
export function watch(source: Source): () => Promise<Watched> {
  const clock = systemClock
  const outbox = watchOutbox(source, clock)
  let pauses: Sight['pauses'] = []
  let pausesTrouble: Trouble | undefined
  let queues: Sight['queues'] | undefined
  let health: AppHealth | undefined

  const lookAtPauses = inTurns(clock, async () => {
    const began = clock.monotonic()
    try {
      pauses = await pausesOf(source)
      pausesTrouble = undefined
    } catch (thrown) {
      pausesTrouble = troubleOf(thrown, pausesTrouble, clock)
    }
    return clock.monotonic() - began
  })
  const lookAtBrokers = inTurns(clock, async () => {
    // What the database knows of queues comes first, if it comes soon.
    if (outbox.figures === undefined) await fulfilledWithin(clock, LONGEST_WAIT_MS, outbox.look())
    const began = clock.monotonic()
    queues = withLatest(await queuesSeen(source, outbox.figures?.overview), queues)
    const costMs = clock.monotonic() - began
    const isAway = queues.some(({ problem }) => problem !== undefined)
    return isAway ? Math.min(costMs, AWAY_REST_MS / REST_FACTOR) : costMs
  })
  const lookAtHealth = inTurns(clock, async () => {
    health = await source.health?.()
    return 0
  })

  return async () => {
    const within = (look: Promise<void>): Promise<boolean> =>
      fulfilledWithin(clock, LONGEST_WAIT_MS, look)
    const brokers = lookAtBrokers()
    const [counted] = await Promise.all([
      within(outbox.look()),
      within(lookAtPauses()),
      within(lookAtHealth()),
    ])
    if (!counted) outbox.isLate()
    else if (queues === undefined) await fulfilledWithin(clock, FIRST_QUEUES_MS, brokers)
    const { at, overview, rates } = outbox.figures ?? {}
    const sight = { at, overview, rates, pauses, queues: queues ?? [] }
    return { source, health, sight, trouble: outbox.trouble ?? pausesTrouble }
  }
}

interface OutboxWatch {
  readonly figures: Pick<Sight, 'at' | 'overview' | 'rates'> | undefined
  readonly trouble: Trouble | undefined
  readonly look: () => Promise<void>
  /** The look under way has taken longer than whoever asks waits. */
  isLate(): void
}

function watchOutbox(source: Source, clock: Clock): OutboxWatch {
  let figures: OutboxWatch['figures']
  let before: { readonly at: number; readonly overview: OutboxOverview } | undefined
  let trouble: Trouble | undefined
  const look = inTurns(clock, async () => {
    const began = clock.monotonic()
    try {
      await source.ready()
      const overview = await source.store?.operations?.overview?.({ keys: MOST_KEYS })
      const at = clock.monotonic()
      figures = { at: clock.now(), overview, rates: ratesOf(before, overview, at) }
      before = overview && { at, overview }
      trouble = undefined
      return at - began
    } catch (thrown) {
      trouble = troubleOf(thrown, trouble, clock)
      before = undefined
      // A database that has worked in vain has worked; one that is away comes back soon.
      const worked = trouble.kind === 'slow' ? clock.monotonic() - began : 0
      return Math.min(worked, LONGEST_REST_MS / REST_FACTOR)
    }
  })
  return {
    get figures() {
      return figures
    },
    get trouble() {
      return trouble
    },
    look,
    isLate() {
      trouble ??= { kind: 'slow', text: 'It has not answered yet.', since: clock.now() }
    },
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

function troubleOf(thrown: unknown, last: Trouble | undefined, clock: Clock): Trouble {
  const kind = isBusy(thrown) ? 'slow' : 'away'
  return { kind, text: awayText(thrown), since: last?.since ?? clock.now() }
}

async function pausesOf(source: Source): Promise<Sight['pauses']> {
  await source.ready()
  return (await source.store?.operations?.pauses?.list()) ?? []
}

/** An outbox that was not counted is not counted for its queues either. */
const UNCOUNTED = { destinations: [] } as const

/** Never rejects: what cannot be looked at says so. */
async function queuesSeen(
  source: Source,
  counted: OutboxOverview | undefined,
): Promise<Sight['queues']> {
  const place = { store: source.store ?? {}, transports: source.transports }
  const known = { counted: counted ?? UNCOUNTED }
  try {
    return ownQueues(source, await queuesOf({ queues: source.queues }, [place], known))
  } catch (thrown) {
    const problem = awayText(thrown)
    return [...source.transports.keys()].map((transport) => ({ transport, queues: [], problem }))
  }
}

/** Of a broker that cannot be looked at now, its queues as they were seen last. */
function withLatest(found: Sight['queues'], last: Sight['queues'] = []): Sight['queues'] {
  return found.map((one) =>
    one.problem === undefined
      ? one
      : { ...one, queues: last.find((of) => of.transport === one.transport)?.queues ?? [] },
  )
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
