import { slots, type Slots } from '../../lib/async/slots.ts'
import { problem } from '../http/problem.ts'

/** Relays and the overview need what is left of the few connections that Mersal has to itself. */
const MOST_AT_A_TIME = 2
const MOST_IN_LINE = 50

/** Runs the work of calls, few of one lane at a time, in the order in which they came. */
export type Lanes = <Result>(lane: string, work: () => Promise<Result>) => Promise<Result>

interface Lane {
  readonly places: Slots
  waiting: number
}

/** Throws a problem for whoever comes when too many wait. */
export function createLanes(): Lanes {
  const lanes = new Map<string, Lane>()
  const never = new AbortController().signal
  return async (name, work) => {
    const lane = lanes.get(name) ?? { places: slots(MOST_AT_A_TIME), waiting: 0 }
    lanes.set(name, lane)
    const waits = lane.places.taken >= MOST_AT_A_TIME
    if (waits && lane.waiting >= MOST_IN_LINE)
      throw problem(503, 'too-many', 'Too many ask at a time: ask again later.')
    if (waits) lane.waiting++
    await lane.places.take(never)
    if (waits) lane.waiting--
    try {
      return await work()
    } finally {
      lane.places.giveBack()
    }
  }
}
