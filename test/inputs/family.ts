import { monitorEventLoopDelay } from 'node:perf_hooks'
import { bodies } from './bodies.ts'
import { keysAndTopics, queues } from './destinations.ts'
import { foreignMessages } from './foreign.ts'
import { headers } from './headers.ts'
import { identifiers } from './identifiers.ts'
import type { Result, Travelling, Trial } from './input.ts'
import { namesOfTypes } from './names.ts'
import { delays, numbers } from './numbers.ts'
import { type Adapter, openPlace, type Place } from './places.ts'
import { programs } from './program.ts'
import { openRoad, type Road, type Watch } from './road.ts'
import { allTextOf, checkPrototypes } from './soundness.ts'
import { tamperEverywhere } from './tampering.ts'
import { addresses } from './urls.ts'

interface Generator {
  readonly name: string
  readonly title: string
  readonly travelling: readonly Travelling[]
  readonly trials: readonly Trial[]
}

export const generators: readonly Generator[] = [
  { name: 'G1', title: 'names of types', travelling: namesOfTypes, trials: [] },
  { name: 'G2', title: 'headers', travelling: headers, trials: [] },
  { name: 'G4', title: 'SQL identifiers', travelling: [], trials: identifiers },
  { name: 'G5', title: 'keys, topics, queues', travelling: keysAndTopics, trials: queues },
  { name: 'G6', title: 'URLs', travelling: [], trials: addresses },
  { name: 'G8', title: 'program, environment, configuration', travelling: [], trials: programs },
  { name: 'G9', title: 'numbers and times', travelling: delays, trials: numbers },
  { name: 'G10', title: 'rows and messages that others have changed', travelling: [], trials: [] },
  // Last: while they lie in the dead letters, every look at those costs seconds.
  { name: 'G3', title: 'bodies', travelling: bodies, trials: [] },
]

/**
 * The longest time in which nothing else could run, in milliseconds, by generator; told, not
 * judged.
 */
export type Delays = Record<string, number>

async function runTrial(generator: string, place: Place, { name, run }: Trial): Promise<Result> {
  const common = { generator, adapter: place.adapter, input: name }
  try {
    const verdict = await run(place)
    checkPrototypes()
    return { ...common, verdict }
  } catch (error) {
    return { ...common, verdict: 'failed', why: allTextOf(error).slice(0, 1500) }
  }
}

/** Those that only wait for processes of their own run a few at a time. */
async function runTrials(
  generator: string,
  place: Place,
  trials: readonly Trial[],
): Promise<Result[]> {
  const open = trials.filter(({ on }) => on?.(place) !== false)
  const results: Result[] = []
  const width = generator === 'G8' ? 4 : 1
  while (open.length > 0)
    results.push(
      ...(await Promise.all(
        open.splice(0, width).map((trial) => runTrial(generator, place, trial)),
      )),
    )
  return results
}

async function onRoad(
  place: Place,
  road: Road,
  longest: Delays,
  without: string | undefined,
): Promise<Result[]> {
  const results: Result[] = []
  for (const { name, travelling, trials } of generators.filter((one) => one.name !== without)) {
    const delay = monitorEventLoopDelay({ resolution: 5 })
    const watch: Watch = async (work) => {
      delay.enable()
      try {
        return await work()
      } finally {
        delay.disable()
      }
    }
    const going = travelling.filter(({ on }) => on?.(place) !== false)
    if (going.length > 0) results.push(...(await road.travel(name, going, watch)))
    results.push(...(await watch(() => runTrials(name, place, trials))))
    longest[name] = Math.max(longest[name] ?? 0, Math.round(delay.max / 1e6))
  }
  return results
}

/** Every generator on one adapter, but not the one that is left out. */
export async function runFamily(
  adapter: Adapter,
  longest: Delays,
  without?: string,
): Promise<Result[]> {
  const results: Result[] = []
  {
    await using place = await openPlace(adapter)
    await using road = await openRoad(
      place,
      generators.flatMap(({ travelling }) => travelling.filter(({ on }) => on?.(place) !== false)),
    )
    results.push(...(await onRoad(place, road, longest, without)))
  }
  if (adapter === 'sqlite' || adapter === 'postgres')
    results.push(...(await tamperEverywhere(adapter)))
  if (adapter === 'rabbitmq') {
    await using place = await openPlace(adapter)
    results.push(...(await foreignMessages(place)))
  }
  return results
}
