import { nats, type NatsOptions } from '../../src/nats.ts'
import { newPrefix, type Road } from '../brokers/road.ts'

const HASTY: NatsOptions = { logger: false }

/** A queue of one run, made as Mersal makes it. */
export interface NatsQueue {
  readonly url: string
  readonly prefix: string
  readonly name: string
  readonly stream: string
  readonly subject: string
}

async function declare(url: string): Promise<NatsQueue> {
  const prefix = newPrefix()
  await using transport = nats({ url, prefix, ...HASTY })
  await transport.subscribe('queue', [])
  return {
    url,
    prefix,
    name: 'queue',
    stream: `${prefix}-queue-queue`,
    subject: `${prefix}.queue.queue`,
  }
}

export const road: Road<NatsQueue> = {
  broker: 'nats',
  declare,
  transport: ({ url, prefix }) => nats({ url, prefix, ...HASTY }),
}
