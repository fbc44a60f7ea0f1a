import { connect as amqpConnect, type Channel, type ChannelModel } from 'amqplib'
import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import { tlsRemedy } from '../../../core/errors/tls-faults.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { BrokerClient, Link } from '../../shared/link.ts'
import { within } from '../../shared/within.ts'
import type { Describe } from '../../shared/describe.ts'
import { checkConnected } from '../../shared/settings.ts'
import { refusesLogin } from './address.ts'
import type { Connect, RabbitSettings } from '../options.ts'

export type RabbitLink = Link<ChannelModel>

/** So much may wait in the socket before amqplib holds messages back. */
const SOCKET_BYTES = 1024 * 1024

function opener({ source, heartbeatSeconds, connectTimeoutMs }: RabbitSettings): Connect {
  if ('connect' in source)
    return async () => {
      const model = await source.connect()
      const methods = ['on', 'close', 'createChannel', 'createConfirmChannel']
      checkConnected('rabbitmq.connect', model, methods, 'a connection of amqplib')
      return model
    }
  // Nagle's algorithm would hold back small acknowledgements for 40 ms.
  const socket = {
    ...source.tls,
    noDelay: true,
    keepAlive: true,
    timeout: connectTimeoutMs,
    writableHighWaterMark: SOCKET_BYTES,
  }
  return () => amqpConnect({ ...source.address, heartbeat: heartbeatSeconds }, socket)
}

/** amqplib, as a link needs it. */
export function amqpClient(
  settings: RabbitSettings,
  describe: Describe,
): BrokerClient<ChannelModel> {
  return {
    open: opener(settings),
    watch(model, events) {
      let problem: unknown
      model.on('error', (error: Error) => {
        problem = error
      })
      model.on('close', (error?: Error) => events.lost(problem ?? error))
      model.on('blocked', (reason: string) => events.blocked(reason))
      model.on('unblocked', () => events.unblocked())
    },
    close: (model) => model.close(),
    destroy: (model) => socketOf(model)?.destroy?.(),
    mistakeIn(error) {
      if (isMersalError(error, 'MERSAL_INVALID_OPTIONS')) return error
      if (refusesLogin(error))
        return mistake(
          'rabbitmq.url',
          `RabbitMQ refuses the connection: ${refusal(describe(error))}`,
        )
      const remedy = tlsRemedy(error)
      if (remedy === undefined) return undefined
      const text = `no secure connection to RabbitMQ, ${remedy} (${describe(error)})`
      return mistake('rabbitmq.tls', text)
    },
  }
}

/** What the broker said, and what an operator does about it. */
const refusal = (said: string): string =>
  /ACCESS_REFUSED/.test(said)
    ? `${said} Correct user and password, and look at the permissions of the user in the vhost`
    : said

function mistake(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

interface Socket {
  readonly destroy?: () => void
  readonly writableLength?: number
}

/** amqplib shows its socket only so, and offers no call that ends it. */
function socketOf(model: ChannelModel): Socket | undefined {
  return (model.connection as { readonly stream?: Socket }).stream
}

/** Bytes that wait in the process, as far as the client shows them. */
export function bufferedIn(model: ChannelModel): number {
  return socketOf(model)?.writableLength ?? 0
}

/** What RabbitMQ answers in time, or a rejection with `MERSAL_UNAVAILABLE`. */
export function answered<Result>(ms: number, promise: Promise<Result>): Promise<Result> {
  return within(systemClock, ms, 'RabbitMQ', promise)
}

/**
 * Closes a channel that the broker may have closed already. Resolves also when its connection is
 * lost meanwhile: the client's own promise then stays open for ever.
 */
export function closeQuietly(channel: Pick<Channel, 'close' | 'on'>): Promise<void> {
  return new Promise((resolve) => {
    channel.on('close', resolve)
    // One that fails was closed already, which is what was wanted.
    channel.close().then(resolve, () => resolve())
  })
}

/**
 * Runs the task on a channel of its own, for at most this long. Rejects with the client's error.
 */
export async function withChannel<Result>(
  link: RabbitLink,
  task: (channel: Channel) => Promise<Result>,
  timeoutMs: number = link.timeoutMs,
): Promise<Result> {
  const { connection } = await link.connection()
  const work = async (): Promise<Result> => {
    const channel = await connection.createChannel()
    // The failed call carries the same error; without a listener it would be thrown a second time.
    channel.on('error', () => {})
    try {
      return await task(channel)
    } finally {
      await closeQuietly(channel)
    }
  }
  return answered(timeoutMs, work())
}
