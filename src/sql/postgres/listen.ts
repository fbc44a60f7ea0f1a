import type { Logger } from '../../core/telemetry.ts'
import { errorFields } from '../../core/errors/error-text.ts'
import { aborted } from '../../lib/async/abort.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { quoteIdentifier } from '../identifiers.ts'
import type { Own } from './pool/pool.ts'
import { sharesConnections } from './pool/pooler.ts'

export interface ListenPorts {
  readonly own: Own
  /** Where the connection that listens comes from, if not from `own`. */
  readonly line?: Own
  readonly channel: string
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  /** A dead connection is noticed after at most twice this. */
  readonly heartbeatMs: number
  /** What is done without notifications, and what helps: for the warning. */
  readonly otherwise: string
}

/**
 * A waker that passes on the payload of each notification; after a (re)connection there is none.
 */
export type Listener = (
  wake: (payload?: string) => void,
  options: { readonly signal: AbortSignal },
) => Promise<void>

const RECONNECT = { firstMs: 200, longestMs: 10_000 }

/**
 * Wakes on every `NOTIFY` of this schema, over a connection of its own. It asks the server for an
 * answer again and again, since a half-open connection reports nothing; reconnects with backoff and
 * jitter, and wakes after every (re)connection, because notifications in between are lost. Behind a
 * pooler that lends connections per transaction it warns once and leaves the work to polling.
 */
export function listen(ports: ListenPorts): Listener {
  return async (wake, { signal }) => {
    let failures = 0
    while (!signal.aborted) {
      try {
        if (!ports.own.direct && (await sharesConnections(ports.own, ports.heartbeatMs))) {
          ports.logger.warn(
            { channel: ports.channel },
            `postgres: a pooler in transaction mode is in between, so that notifications do not arrive; ${ports.otherwise}`,
          )
          return await aborted(signal)
        }
        await listenOnce(ports, wake, signal, () => {
          failures = 0
        })
      } catch (error) {
        failures++
        if (failures === 1 && !signal.aborted) {
          ports.logger.warn(
            { channel: ports.channel, ...errorFields(error) },
            'postgres: the connection that listens was lost; trying again, and polling meanwhile',
          )
        }
        await ports.clock.sleep(backoffMs(RECONNECT, failures, ports.random), signal)
      }
    }
  }
}

async function listenOnce(
  ports: ListenPorts,
  wake: (payload?: string) => void,
  signal: AbortSignal,
  listening: () => void,
): Promise<void> {
  await (ports.line ?? ports.own).connection(async (query, client) => {
    const lost = Promise.withResolvers<never>()
    lost.promise.catch(() => {})
    const onEnd = (): void => lost.reject(new Error('the connection that listens has ended'))
    const onNotification = ({ payload }: { readonly payload?: string }): void => {
      if (!signal.aborted) wake(payload)
    }
    client.on('notification', onNotification)
    client.on('end', onEnd)
    client.on('error', lost.reject)
    try {
      await query.within(ports.heartbeatMs, `listen ${quoteIdentifier(ports.channel)}`)
      listening()
      if (!signal.aborted) wake()
      while (!signal.aborted) {
        await Promise.race([ports.clock.sleep(ports.heartbeatMs, signal), lost.promise])
        if (!signal.aborted) await query.within(ports.heartbeatMs, 'select 1')
      }
      await query(`unlisten *`)
    } finally {
      client.off('notification', onNotification)
      client.off('end', onEnd)
      client.off('error', lost.reject)
    }
  })
}
