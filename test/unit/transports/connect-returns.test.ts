import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import type { Transport } from '../../../src/core/transport.ts'
import { nats } from '../../../src/nats.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { redis } from '../../../src/redis.ts'

type Open = (connect: () => Promise<never>) => Transport

const transports: readonly [field: string, open: Open][] = [
  ['rabbitmq.connect', (connect) => rabbitmq({ connect, logger: false })],
  ['nats.connect', (connect) => nats({ connect, logger: false })],
  ['redis.connect', (connect) => redis({ connect, logger: false })],
]

/** A client of another package: it can be listened to and closed. */
const foreign = Object.assign(new EventEmitter(), { close() {}, connect() {}, status: 'ready' })

test.each(
  transports.flatMap(([field, open]) =>
    [undefined, null, {}, 'connected', foreign].map((given) => ({ field, open, given })),
  ),
)('$field says that it returned something else: $given', async ({ field, open, given }) => {
  await using transport = open(() => Promise.resolve(given as never))
  await expect(transport.subscribe('q', [])).rejects.toMatchObject({
    code: 'MERSAL_INVALID_OPTIONS',
    message: expect.stringContaining('it must return a promise of'),
    details: { field },
  })
})
