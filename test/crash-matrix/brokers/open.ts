import type { Transport } from '../../../src/core/transport.ts'
import { HOLD_MS, type WorkerPlan } from '../plan.ts'

// A process loads the client that it uses, and no other: each start of hundreds would pay for all.

/** `prefix`: each cell has its own. */
export async function openNats(url: string, prefix: string): Promise<Transport> {
  const { nats } = await import('../../../src/nats.ts')
  return nats({
    url,
    prefix,
    ackWaitMs: HOLD_MS,
    // So short that it hides no copy.
    duplicateWindowMs: 100,
    logger: false,
  })
}

/** `prefix`: each cell has its own. */
export async function openRedis(url: string, prefix: string): Promise<Transport> {
  const { redis } = await import('../../../src/redis.ts')
  return redis({ url, prefix, visibilityMs: HOLD_MS, pollIntervalMs: 100, logger: false })
}

/** A prefix there has no `_`. */
export const kafkaPrefix = (prefix: string): string => prefix.replaceAll('_', '-')

/** `prefix`: each cell has its own. */
export async function openKafka(server: string, prefix: string): Promise<Transport> {
  const { kafka } = await import('../../../src/kafka.ts')
  return kafka({
    bootstrapServers: server,
    prefix: kafkaPrefix(prefix),
    partitions: 2,
    sessionTimeoutMs: HOLD_MS,
    logger: false,
  })
}

/** The broker of a process, as Mersal reaches it. */
export async function openBroker(plan: WorkerPlan): Promise<Transport> {
  const { kind, broker, exchange, queue } = plan
  if (kind.broker === 'nats') return openNats(broker, queue)
  if (kind.broker === 'kafka') return openKafka(broker, queue)
  if (kind.broker === 'redis') return openRedis(broker, queue)
  const { rabbitmq } = await import('../../../src/rabbitmq.ts')
  return rabbitmq({ url: broker, eventsExchange: exchange, newQueuePauseMs: 0, logger: false })
}
