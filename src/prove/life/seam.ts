import { subscribe } from 'node:diagnostics_channel'
import type { MersalOptions } from '../../app/types.ts'
import type { Store } from '../../core/store.ts'
import type { Transport } from '../../core/transport.ts'
import {
  type AtCrashPoint,
  storeWithPoints,
  transportWithPoints,
} from '../../testing/crash-points.ts'
import { overlay } from '../../testing/crash-points/overlay.ts'
import { unitOfWorkWithPoints } from '../../testing/crash-points/unit.ts'
import type { Troubles } from './trouble.ts'

/** What the apps of this process work with. */
export interface Parts {
  readonly stores: Set<Store<unknown>>
  readonly transports: Set<Transport>
  /** Queues that somebody reads, by transport. */
  readonly queues: Map<Transport, Set<string>>
}

type Options = { -readonly [Field in keyof MersalOptions<unknown>]: MersalOptions<unknown>[Field] }

/** From now on each app that is made has the points and the troubles in its store and transport. */
export function watchApps(at: AtCrashPoint, trouble: Troubles): Parts {
  const parts: Parts = { stores: new Set(), transports: new Set(), queues: new Map() }
  const stores = wrapped((store: Store<unknown>) => {
    parts.stores.add(store)
    const inTrouble = overlay(store, {
      unitOfWork: trouble.unitOfWork((work, options) => store.unitOfWork(work, options)),
    })
    return storeWithPoints(inTrouble, at)
  })
  const transports = wrapped((transport: Transport) => {
    parts.transports.add(transport)
    const queues = new Set<string>()
    parts.queues.set(transport, queues)
    const consume = trouble.consume(transport)
    const inTrouble = overlay(transport, {
      consume: (consumption, onDelivery) => {
        queues.add(consumption.queue)
        return consume(consumption, onDelivery)
      },
    })
    return transportWithPoints(inTrouble, at)
  })
  subscribe('mersal:app', (given) => {
    const options = given as Options
    options.transport = transports(options.transport)
    if (options.store !== undefined) options.store = stores(options.store)
    if (options.unitOfWork !== undefined)
      options.unitOfWork = unitOfWorkWithPoints(trouble.unitOfWork(options.unitOfWork), at)
    if (options.bridges !== undefined)
      options.bridges = Object.fromEntries(
        Object.entries(options.bridges).map(([name, one]) => [name, transports(one)]),
      )
  })
  return parts
}

/** Several apps may share a part: then they share what is put around it. */
function wrapped<Part extends object>(wrap: (part: Part) => Part): (part: Part) => Part {
  const known = new Map<Part, Part>()
  return (part) => {
    const before = known.get(part)
    if (before !== undefined) return before
    const made = wrap(part)
    known.set(part, made)
    return made
  }
}

/** Messages that are still on their way, and those that were given up. */
export async function countMessages({
  stores,
  transports,
  queues,
}: Parts): Promise<{ readonly waiting: number; readonly dead: number }> {
  const stats = await Promise.all([...stores].map((store) => store.admin.stats()))
  const overviews = await Promise.all(
    [...transports].map(async (transport) => {
      const names = [...(queues.get(transport) ?? [])]
      return (await transport.operations?.queues?.({ names })) ?? []
    }),
  )
  const all = [
    ...stats.map(({ pending, dead }) => ({ waiting: pending, dead })),
    ...overviews.flat(),
  ]
  return {
    waiting: all.reduce((sum, { waiting }) => sum + waiting, 0),
    dead: all.reduce((sum, { dead }) => sum + dead, 0),
  }
}
