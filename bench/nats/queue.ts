import { nats, type NatsOptions } from '../../src/nats.ts'

export const HASTY: NatsOptions = { logger: false }

/** A queue of one run, made as Mersal makes it. */
export interface NatsQueue {
  readonly url: string
  readonly prefix: string
  readonly name: string
  readonly stream: string
  readonly subject: string
}

let queues = 0

export async function declare(url: string): Promise<NatsQueue> {
  const prefix = `bench-${process.pid}-${++queues}`
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

export const idOf = (number: number): string =>
  `0190a1b2-c3d4-7e5f-8a6b-${String(number).padStart(12, '0')}`
