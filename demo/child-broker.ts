import type { Transport } from '../src/index.ts'
import { nats } from '../src/nats.ts'
import { rabbitmq } from '../src/rabbitmq.ts'
import { sqliteQueue } from '../src/sqlite.ts'
import { plan } from './child.ts'
import { type AppName, HOLD_MS, eventsExchange } from './plan.ts'

/** Name of an app, and of its queue on this broker. */
export function appName(name: AppName): string {
  return `${plan.broker.prefix}${name}`
}

export function openTransport(): Transport {
  const { broker } = plan
  switch (broker.kind) {
    case 'sqlite':
      return sqliteQueue({ path: broker.path, visibilityMs: HOLD_MS, pollIntervalMs: 50 })
    case 'rabbitmq':
      return rabbitmq({
        url: broker.url,
        eventsExchange: eventsExchange(broker.prefix),
        logger: false,
      })
    case 'nats':
      return nats({ url: broker.url, prefix: broker.streams, ackWaitMs: HOLD_MS, logger: false })
    default:
      return broker satisfies never
  }
}
