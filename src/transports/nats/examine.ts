import type { Finding, QueueOverview } from '../../core/operations.ts'
import type { QueueRemoval } from '../../core/transport.ts'
import type { NatsLink } from './connection/client.ts'
import { consumersOf } from './topology/consumers.ts'
import { CONSUMER } from './topology/names.ts'
import type { NatsSettings } from './options.ts'
import type { Topology } from './topology/topology.ts'
import { notMadeYet } from '../shared/own-queues.ts'

/** Room for headers of ours beside the largest message. */
const OWN_BYTES = 512

/** Looks at the server without making anything. Throws when it cannot be reached. */
export async function examine(
  link: NatsLink,
  topology: Topology,
  settings: NatsSettings,
  queues: readonly string[],
): Promise<readonly Finding[]> {
  const { connection } = await link.connection()
  const { version = '?', max_payload: largest = 0 } = connection.client.info ?? {}
  const findings: Finding[] = [
    { level: 'ok', subject: 'nats version', text: version },
    payload(largest, settings.maxMessageBytes),
    await storage(topology),
  ]
  const { names } = topology
  for (const stream of [names.topics, names.dead, ...queues.map((queue) => names.streamOf(queue))])
    findings.push(await streamFinding(topology, settings, stream))
  return findings
}

function payload(largest: number, wanted: number): Finding {
  const subject = 'nats max_payload'
  if (largest >= wanted + OWN_BYTES) return { level: 'ok', subject, text: `${largest} bytes` }
  return {
    level: 'warning',
    subject,
    text: `${largest} bytes, and messages may have ${wanted}`,
    remedy: 'raise max_payload of the server, or lower nats.maxMessageBytes',
  }
}

async function storage(topology: Topology): Promise<Finding> {
  const subject = 'nats storage'
  const { storage: used, limits } = await topology.ask('looking at the account', ({ manager }) =>
    manager.getAccountInfo(),
  )
  const most = limits.max_storage
  const text = most < 0 ? `${used} bytes used` : `${used} of ${most} bytes used`
  if (most < 0 || used < most * 0.9) return { level: 'ok', subject, text }
  const remedy = 'raise max_storage of the account, or let consumers catch up'
  return { level: 'warning', subject, text, remedy }
}

async function streamFinding(
  topology: Topology,
  { topology: mode }: NatsSettings,
  stream: string,
): Promise<Finding> {
  const subject = `stream '${stream}'`
  const info = await topology.info(stream)
  if (info !== undefined)
    return {
      level: 'ok',
      subject,
      text: `${info.state.messages} messages, ${info.state.bytes} bytes`,
    }
  if (mode === 'check') {
    const remedy = "make it, or use topology: 'declare'"
    return { level: 'fault', subject, text: 'does not exist', remedy }
  }
  return notMadeYet(subject)
}

/** Every queue of this prefix, and those of `more` that exist. */
export async function queueOverviews(
  topology: Topology,
  more: readonly string[],
): Promise<readonly QueueOverview[]> {
  const overviews: QueueOverview[] = []
  for (const queue of new Set([...(await topology.queues()), ...more])) {
    const waiting = await waitingIn(topology, queue)
    if (waiting === undefined) continue
    overviews.push({ queue, dead: await deadIn(topology, queue), waiting })
  }
  return overviews
}

/** What waits in the partitions waits in the queue. Undefined if nobody could read it. */
async function waitingIn(topology: Topology, queue: string): Promise<number | undefined> {
  const { names } = topology
  const stream = names.streamOf(queue)
  const [consumer, ordered] = await Promise.all([
    topology.consumerInfo(stream),
    topology.info(names.orderOf(queue)),
  ])
  const partitions = ordered?.state.messages ?? 0
  if (consumer !== undefined) return consumer.num_pending + consumer.num_ack_pending + partitions
  if (ordered === undefined) return undefined
  return ((await topology.info(stream))?.state.messages ?? 0) + partitions
}

async function deadIn(topology: Topology, queue: string): Promise<number> {
  const { names } = topology
  const subject = names.deadOf(queue)
  const info = await topology.info(names.dead, subject)
  return info?.state.subjects?.[subject] ?? 0
}

/**
 * Removes the queue with its subscriptions. Its stream takes no message while it is looked at, so
 * none is lost between the look and the removal.
 */
export async function removeQueue(topology: Topology, queue: string): Promise<QueueRemoval> {
  const { names } = topology
  const stream = names.streamOf(queue)
  const dead = await deadIn(topology, queue)
  if (dead > 0) return { kind: 'kept', why: `${dead} dead letters of it are in '${names.dead}'` }
  if ((await topology.info(stream)) === undefined) return { kind: 'removed' }
  await topology.accept(queue, false)
  const why =
    (await reasonToKeep(topology, stream)) ?? (await reasonToKeep(topology, names.orderOf(queue)))
  if (why !== undefined) {
    await topology.accept(queue, true)
    return { kind: 'kept', why }
  }
  await topology.bind(queue, await topology.topicsOf(queue), true)
  if ((await topology.info(names.orderOf(queue))) !== undefined) await removeOrder(topology, queue)
  await topology.ask(`removing the stream '${stream}'`, ({ manager }) =>
    manager.streams.delete(stream),
  )
  return { kind: 'removed' }
}

/** The partitions, and what is noted about those who have read them. */
async function removeOrder(topology: Topology, queue: string): Promise<void> {
  const { names } = topology
  await topology.ask('removing the partitions of a queue', async ({ manager }) => {
    await manager.streams.delete(names.orderOf(queue))
    for (const filter of [names.memberOf(queue, '*'), names.markOf(queue, '*')])
      await manager.streams.purge(names.state, { filter })
  })
}

/** Those of processes that read in order have names of their own. */
const isOurs = (consumer: string): boolean =>
  consumer === CONSUMER || consumer.startsWith(`${CONSUMER}-`)

async function reasonToKeep(topology: Topology, stream: string): Promise<string | undefined> {
  const info = await topology.info(stream)
  if ((info?.state.messages ?? 0) > 0) return `messages are in '${stream}'`
  const isRead = (await consumersOf(topology, stream)).some(
    ({ name, num_waiting: readers }) => !isOurs(name) || readers > 0,
  )
  return isRead ? `somebody reads '${stream}'` : undefined
}
