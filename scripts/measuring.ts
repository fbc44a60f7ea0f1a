/** What programs that measure a relay have in common. */
import { randomUUID } from 'node:crypto'
import type { OutgoingMessage } from '../src/core/messages/message.ts'
import { silentLogger } from '../src/core/telemetry.ts'
import type { Transport } from '../src/core/transport.ts'
import { systemClock } from '../src/lib/async/clock.ts'
import type { RelayPorts } from '../src/outbox/types.ts'

export const environment: RelayPorts['environment'] = {
  app: 'measure',
  logger: silentLogger,
  clock: systemClock,
  random: Math.random,
  newToken: randomUUID,
}

/** A broker that confirms each message once it has been told of. */
export function confirming(
  ordering: Transport['features']['ordering'],
  arrived: (message: OutgoingMessage) => unknown,
): Transport {
  return {
    name: 'measure',
    features: { ordering, maxMessageBytes: 1_000_000 },
    publish: (messages) =>
      messages.map(async (message) => {
        await arrived(message)
        return { kind: 'confirmed' as const }
      }),
    subscribe: () => Promise.resolve(),
    consume: () => Promise.reject(new Error('nobody consumes here')),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** The value below which this part of them lies, from 0 to 1. */
export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
