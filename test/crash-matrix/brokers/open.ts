import type { Transport } from '../../../src/core/transport.ts'
import { kafka } from '../../../src/kafka.ts'
import { nats } from '../../../src/nats.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { redis } from '../../../src/redis.ts'
import { HOLD_MS, type WorkerPlan } from '../plan.ts'

/** `prefix`: each cell has its own. */
export function openNats(url: string, prefix: string): Transport {
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
export function openRedis(url: string, prefix: string): Transport {
  return redis({ url, prefix, visibilityMs: HOLD_MS, pollIntervalMs: 100, logger: false })
}

/** A prefix there has no `_`. */
export const kafkaPrefix = (prefix: string): string => prefix.replaceAll('_', '-')

/** `prefix`: each cell has its own. */
export function openKafka(server: string, prefix: string): Transport {
  return kafka({
    bootstrapServers: server,
    prefix: kafkaPrefix(prefix),
    partitions: 2,
    sessionTimeoutMs: HOLD_MS,
    logger: false,
  })
}

/** The broker of a process, as Mersal reaches it. */
export function openBroker({ kind, broker, exchange, queue }: WorkerPlan): Transport {
  if (kind.broker === 'nats') return openNats(broker, queue)
  if (kind.broker === 'kafka') return openKafka(broker, queue)
  if (kind.broker === 'redis') return openRedis(broker, queue)
  return rabbitmq({ url: broker, eventsExchange: exchange, newQueuePauseMs: 0, logger: false })
}
