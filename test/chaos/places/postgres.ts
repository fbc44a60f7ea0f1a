import { openPrivateBroker, type PrivateBroker } from '../../rabbitmq/broker.ts'
import { drainQueue, openTap } from '../../rabbitmq/outage/tap.ts'
import { CLERK } from '../features/plan.ts'
import { CONSUMER, headers, TAP, topics } from '../plan.ts'
import { digestOf } from '../producer.ts'
import {
  type BrokerSide,
  type ClusterPlace,
  openClusterPlace,
  type PlaceOptions,
} from './cluster.ts'
import type { Arrival } from './place.ts'

/** PostgreSQL and RabbitMQ. */
export interface PostgresPlace extends ClusterPlace {
  readonly broker: PrivateBroker
}

interface RabbitSide extends BrokerSide {
  readonly server: PrivateBroker
}

async function openRabbit(password: string): Promise<RabbitSide> {
  const login = { name: 'chaos', password }
  const server = await openPrivateBroker([], { user: login })
  const { url } = server
  return {
    server,
    url,
    login,
    versions: { RabbitMQ: (await server.ctl('version')).trim() },
    async prepare({ rabbitmq }) {
      await openTap(url, TAP, 'mersal.events').bind(Object.values(topics))
      await using transport = rabbitmq.rabbitmq({ url })
      await transport.subscribe(CONSUMER, [topics.booked])
    },
    async prepareClerk({ rabbitmq }) {
      await using transport = rabbitmq.rabbitmq({ url })
      await transport.subscribe(CLERK, [])
    },
    arrivals: () => arrivals(url),
    async letters() {
      const given = await drainQueue(url, `${CONSUMER}.dead`).catch(() => [])
      return given.map(({ properties }) => ({
        id: String(properties.messageId),
        text: JSON.stringify(properties),
      }))
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Plainly with amqplib, from a queue of its own. */
async function arrivals(url: string): Promise<readonly Arrival[]> {
  const messages = await drainQueue(url, TAP)
  return messages.map(({ content, properties, fields }): Arrival => {
    const table = properties.headers ?? {}
    const text = (JSON.parse(content.toString()) as { text: string }).text
    return {
      id: String(properties.messageId),
      topic: fields.routingKey,
      publish: String(table[headers.publish]),
      digest: digestOf(text),
      note: String(table[headers.note] ?? ''),
    }
  })
}

export async function openPostgresPlace(options: PlaceOptions): Promise<PostgresPlace> {
  const [place, { server }] = await openClusterPlace('postgres', openRabbit, options)
  return { ...place, broker: server }
}
