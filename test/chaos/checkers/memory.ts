/** Checkers of the memory of the processes. */
import type { Line } from '../history.ts'
import type { Evidence } from './evidence.ts'
import { lifeOf } from './evidence.ts'
import type { Checker } from './finding.ts'

const MIB = 2 ** 20
/**
 * Resident memory may be so much more than after the first seconds: garbage that nobody had to
 * collect yet.
 */
const RSS_GROWTH = 150 * MIB
/**
 * What is left after a collection may grow by so much in the last three fifths of a life. Seen was
 * at most 0.5.
 */
const LIVE_GROWTH = 2 * MIB
/**
 * Samples before these are of a process that still warms up: code is compiled for minutes, more and
 * more seldom.
 */
const WARM = 4
const WARM_SHARE = 0.4
/**
 * As many at the beginning and at the end are taken together, so that what was in flight at one
 * moment does not count.
 */
const WINDOW = 5

export interface Memory {
  readonly mostMiB: number
  readonly mostGrowthMiB: number
  /** After a collection of garbage: heap and what is outside of it. */
  readonly mostLiveMiB: number
  readonly mostLiveGrowthMiB: number
}

type Samples = ReadonlyMap<string, readonly number[]>

function samples(
  { lines }: Pick<Evidence, 'lines'>,
  bytes: (line: Line) => number | undefined,
): Samples {
  const found = new Map<string, number[]>()
  for (const line of lines) {
    const value = bytes(line)
    if (value === undefined) continue
    const list = found.get(lifeOf(line)) ?? []
    list.push(value)
    found.set(lifeOf(line), list)
  }
  return found
}

const resident = (line: Line): number | undefined => (line.op === 'rss' ? line.bytes : undefined)
const live = (line: Line): number | undefined =>
  line.op === 'live' ? line.heap + line.external : undefined

const growthOf = (list: readonly number[]): number =>
  Math.max(...list) - (list[Math.min(4, list.length - 1)] ?? 0)

/** The least of a few samples: what was there all the time. */
const floor = (list: readonly number[]): number => Math.min(...list)

/** 0 for a process that did not live long enough to tell. */
function liveGrowthOf(list: readonly number[]): number {
  if (list.length < WARM + 2 * WINDOW) return 0
  const start = Math.max(WARM, Math.floor(list.length * WARM_SHARE))
  return floor(list.slice(-WINDOW)) - floor(list.slice(start, start + WINDOW))
}

const most = (all: Samples, of: (list: readonly number[]) => number): number =>
  Math.round((Math.max(0, ...[...all.values()].map(of)) / MIB) * 10) / 10

export function memory(evidence: Pick<Evidence, 'lines'>): Memory {
  const [all, kept] = [samples(evidence, resident), samples(evidence, live)]
  return {
    mostMiB: Math.round(most(all, (list) => Math.max(...list))),
    mostGrowthMiB: Math.round(most(all, growthOf)),
    mostLiveMiB: most(kept, (list) => Math.max(...list)),
    mostLiveGrowthMiB: most(kept, liveGrowthOf),
  }
}

const rss: Checker = {
  check: 'rss',
  says: 'the resident memory of a process grew by more than 150 MiB',
  find: (evidence) =>
    [...samples(evidence, resident)].flatMap(([life, list]) =>
      growthOf(list) > RSS_GROWTH ? [`${life}: ${Math.round(growthOf(list) / MIB)} MiB`] : [],
    ),
}

const leak: Checker = {
  check: 'leak',
  says: 'a process held more and more: what was left after collecting garbage grew by more than 2 MiB',
  find: (evidence) =>
    [...samples(evidence, live)].flatMap(([life, list]) =>
      liveGrowthOf(list) > LIVE_GROWTH
        ? [`${life}: ${(liveGrowthOf(list) / MIB).toFixed(1)} MiB in ${list.length} samples`]
        : [],
    ),
}

export const memoryCheckers: readonly Checker[] = [rss, leak]
