import type { QueueBoard, QueueOverview, SchemaControl } from '../core/operations.ts'
import type { Transport } from '../core/transport.ts'
import { toError } from '../lib/abort.ts'
import { systemClock } from '../lib/clock.ts'
import type { Served } from './access.ts'
import type { MersalConfig } from './config.ts'
import { describeError } from './errors.ts'

/** Each may cost a broker some questions. */
const MOST_NAMES = 200
const LONGEST_MS = 5000

/** The queues of one transport, or why they cannot be looked at. */
export interface TransportQueues {
  readonly transport: string
  readonly queues: readonly QueueOverview[]
  readonly problem?: string
}

type Looking = Transport & Partial<QueueBoard> & { readonly schema?: SchemaControl }

/**
 * The queues of consumers that can be found: those that a transport lists by itself, that the configuration
 * names, that the inbox knows, and that messages of the outbox go to.
 */
export async function queuesOf(
  config: Pick<MersalConfig, 'queues'>,
  served: readonly Pick<Served, 'store' | 'transports'>[],
  asked: readonly string[] = [],
): Promise<readonly TransportQueues[]> {
  const names = new Map<Transport, { readonly name: string; readonly queues: Set<string> }>()
  for (const one of served) {
    const known = await knownTo(one)
    for (const [name, transport] of one.transports) {
      const entry = names.get(transport) ?? { name, queues: new Set(name === 'default' ? [...asked, ...(config.queues ?? [])] : []) }
      names.set(transport, entry)
      for (const queue of known(name)) entry.queues.add(queue)
    }
  }
  return await Promise.all([...names].map(([transport, { name, queues }]) => look(transport, name, [...queues].slice(0, MOST_NAMES))))
}

/** The names that the database knows, by transport; none if it cannot be asked, which the caller sees elsewhere. */
async function knownTo({ store }: Pick<Served, 'store'>): Promise<(transport: string) => readonly string[]> {
  const { consumers, overview } = store.operations ?? {}
  try {
    const inbox = (await consumers?.({ limit: MOST_NAMES })) ?? []
    const places = ((await overview?.({ keys: 0 }))?.destinations ?? []).map(({ destination }) => destination)
    return (transport) => [
      ...(transport === 'default' ? inbox : []),
      ...places.flatMap((place) => (place.startsWith(`${transport}/queue/`) ? [place.slice(transport.length + '/queue/'.length)] : [])),
    ]
  } catch {
    return () => []
  }
}

async function look(transport: Looking, name: string, names: readonly string[]): Promise<TransportQueues> {
  const none = { transport: name, queues: [] }
  if (transport.queues === undefined) return none
  const stop = new AbortController()
  try {
    const version = await transport.schema?.version()
    // Only 'migrate' and apps bring tables up to date; looking must not.
    if (version !== undefined && version.current !== version.newest) return none
    const late = systemClock.sleep(LONGEST_MS, stop.signal).then(() => Promise.reject(new Error(`no answer within ${LONGEST_MS} ms`)))
    late.catch(() => {})
    return { transport: name, queues: await Promise.race([transport.queues({ names }), late]) }
  } catch (thrown) {
    return { ...none, problem: describeError(toError(thrown)) }
  } finally {
    stop.abort()
  }
}

/** Those that have dead letters, the most first. */
export function withDeadLetters(found: readonly TransportQueues[]): readonly (QueueOverview & { readonly transport: string })[] {
  return found
    .flatMap(({ transport, queues }) => queues.map((queue) => ({ transport, ...queue })))
    .filter(({ dead }) => dead > 0)
    .sort((a, b) => b.dead - a.dead)
}
