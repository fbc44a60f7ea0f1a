import type { Transport } from '../../../src/core/transport.ts'
import { nats } from '../../../src/nats.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
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

/** The broker of a process, as Mersal reaches it. */
export function openBroker({ kind, broker, exchange, queue }: WorkerPlan): Transport {
  if (kind.broker === 'nats') return openNats(broker, queue)
  return rabbitmq({ url: broker, eventsExchange: exchange, newQueuePauseMs: 0, logger: false })
}
