import type { OutboxOverview, QueueOverview, StoreOperations } from '../core/operations.ts'
import type { Transport } from '../core/transport.ts'
import { toError } from '../lib/async/abort.ts'
import { systemClock } from '../lib/async/clock.ts'
import { describeError } from './describe-error.ts'

/** Each may cost a broker some questions. */
const MOST_NAMES = 200
const LONGEST_MS = 5000

/** A database and its brokers, as far as this looks at them. */
export interface QueuePlace {
  readonly store: { readonly operations?: StoreOperations }
  /** By the name in destinations. */
  readonly transports: ReadonlyMap<string, Transport>
}

/** The queues of one transport, or why they cannot be looked at. */
export interface TransportQueues {
  readonly transport: string
  readonly queues: readonly QueueOverview[]
  readonly problem?: string
}

/** The part of an overview that names queues. */
type Counted = Pick<OutboxOverview, 'destinations'>

/**
 * The queues of consumers that can be found: those that a transport lists by itself, that the
 * configuration names, that the inbox knows, and that messages of the outbox go to. `counted`: the
 * outbox, if it has just been counted.
 */
export async function queuesOf(
  config: { readonly queues?: readonly string[] },
  served: readonly QueuePlace[],
  { asked = [], counted }: { readonly asked?: readonly string[]; readonly counted?: Counted } = {},
): Promise<readonly TransportQueues[]> {
  const names = new Map<Transport, { readonly name: string; readonly queues: Set<string> }>()
  for (const one of served) {
    const known = await knownTo(one, counted)
    for (const [name, transport] of one.transports) {
      const entry = names.get(transport) ?? {
        name,
        queues: new Set(name === 'default' ? [...asked, ...(config.queues ?? [])] : []),
      }
      names.set(transport, entry)
      for (const queue of known(name)) entry.queues.add(queue)
    }
  }
  return await Promise.all(
    [...names].map(([transport, { name, queues }]) =>
      look(transport, name, [...queues].slice(0, MOST_NAMES)),
    ),
  )
}

/**
 * The names that the database knows, by transport; none if it cannot be asked, which the caller
 * sees elsewhere.
 */
async function knownTo(
  { store }: Pick<QueuePlace, 'store'>,
  counted: Counted | undefined,
): Promise<(transport: string) => readonly string[]> {
  const { consumers, overview, schema } = store.operations ?? {}
  try {
    const version = await schema?.version()
    if (version?.current !== version?.newest) return () => []
    const inbox = (await consumers?.({ limit: MOST_NAMES })) ?? []
    const places = ((counted ?? (await overview?.({ keys: 0 })))?.destinations ?? []).map(
      ({ destination }) => destination,
    )
    return (transport) => [
      ...(transport === 'default' ? inbox : []),
      ...places.flatMap((place) =>
        place.startsWith(`${transport}/queue/`)
          ? [place.slice(transport.length + '/queue/'.length)]
          : [],
      ),
    ]
  } catch {
    return () => []
  }
}

async function look(
  { operations = {} }: Transport,
  name: string,
  names: readonly string[],
): Promise<TransportQueues> {
  const none = { transport: name, queues: [] }
  const { schema, queues: overviews } = operations
  if (overviews === undefined) return none
  const stop = new AbortController()
  try {
    const version = await schema?.version()
    // Only 'migrate' and apps bring tables up to date; looking must not.
    if (version !== undefined && version.current !== version.newest) return none
    const late = systemClock
      .sleep(LONGEST_MS, stop.signal)
      .then(() => Promise.reject(new Error(`no answer within ${LONGEST_MS} ms`)))
    late.catch(() => {})
    return { transport: name, queues: await Promise.race([overviews({ names }), late]) }
  } catch (thrown) {
    return { ...none, problem: describeError(toError(thrown)) }
  } finally {
    stop.abort()
  }
}

/** Those that have dead letters, the most first. */
export function withDeadLetters(
  found: readonly TransportQueues[],
): readonly (QueueOverview & { readonly transport: string })[] {
  return found
    .flatMap(({ transport, queues }) => queues.map((queue) => ({ transport, ...queue })))
    .filter(({ dead }) => dead > 0)
    .sort((a, b) => b.dead - a.dead)
}

/** One line for people; undefined if there is nothing to tell. */
export function deadLettersLine(found: readonly TransportQueues[]): string | undefined {
  const queues = withDeadLetters(found)
  if (queues.length === 0) return undefined
  const named = queues.slice(0, 5).map(({ queue, dead }) => `${queue} ${dead}`)
  const total = queues.reduce((sum, { dead }) => sum + dead, 0)
  return `dead letters of consumers ${total}: ${named.join(', ')}${queues.length > named.length ? ', …' : ''} ('mersal dead list --queue ${queues[0]?.queue}')`
}

export function problemLines(found: readonly TransportQueues[]): readonly string[] {
  return found.flatMap(({ transport, problem }) =>
    problem === undefined
      ? []
      : [`the queues of transport '${transport}' cannot be looked at: ${problem}`],
  )
}

/** The same for programs. */
export function incomingJson(found: readonly TransportQueues[]): object {
  const queues = withDeadLetters(found)
  return {
    dead: queues.reduce((sum, { dead }) => sum + dead, 0),
    queues,
    problems: found.flatMap(({ transport, problem }) =>
      problem === undefined ? [] : [{ transport, problem }],
    ),
  }
}
