/**
 * Watches the client of NATS. The moments have the names that they have on RabbitMQ: a negative
 * acknowledgement stands for the copy for the retry, and the removal of a dead letter for its
 * acknowledgement.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { acknowledging, answered, here, type Line, lost, publishing } from './line.ts'
import { at } from './steps.ts'

interface Protocol {
  readonly transport: { readonly socket: { destroy(error: Error): void } }
  flushPending(): void
  publish: (
    this: Protocol,
    subject: string,
    payload?: string | Uint8Array,
    options?: PublishOptions,
  ) => void
  subscribe: (this: Protocol, subscription: Subscription) => Subscription
}
interface PublishOptions {
  readonly reply?: string
  readonly headers?: { get(name: string): string }
}
interface Arriving {
  readonly subject: string
  readonly reply?: string
}
interface Subscription {
  callback?: (error: Error | null, message: Arriving) => void
}
interface Connection {
  closed(): Promise<unknown>
}
type Connect = (options: unknown) => Promise<Connection>

const require = createRequire(import.meta.url)
/** The client brings its core along. */
const client = createRequire(require.resolve('@nats-io/transport-node'))
const library = dirname(client.resolve('@nats-io/nats-core'))
const { ProtocolHandler } = require(join(library, 'protocol.js')) as {
  ProtocolHandler: { prototype: Protocol }
}
const { NatsConnectionImpl } = require(join(library, 'nats.js')) as {
  NatsConnectionImpl: { connect: Connect }
}

/** Deliveries whose dead letters have been written, by what names them in both places. */
const buried = new Set<string>()

type Sort = 'publish' | 'move(dead)' | 'ack' | 'ack(dead)' | 'retry'

const ACK = /^\$JS\.ACK\.[^.]+\.[^.]+\.\d+\.(\d+)\.\d+\.(\d+)\.\d+$/

function sortOf(subject: string, payload: string | Uint8Array): Sort | undefined {
  if (/^\w+\.queue\./.test(subject)) return 'publish'
  if (/^\w+\.dead\./.test(subject)) return 'move(dead)'
  if (subject.startsWith('$JS.API.STREAM.MSG.DELETE.')) return 'ack'
  const [, sequence, time] = ACK.exec(subject) ?? []
  if (sequence === undefined) return undefined
  const text = Buffer.from(payload).toString()
  if (text.startsWith('-NAK {')) return 'retry'
  if (text !== '+ACK') return undefined
  return buried.delete(`${sequence}-${time}`) ? 'ack(dead)' : 'ack'
}

const { publish, subscribe } = ProtocolHandler.prototype
const { connect } = NatsConnectionImpl

const lineOf = (protocol: Protocol): Line => ({
  flush: () => protocol.flushPending(),
  socket: protocol.transport.socket,
})

const watchedPublish: Protocol['publish'] = function (subject, payload = '', options = {}) {
  const line = lineOf(this)
  const write = (): void => publish.call(this, subject, payload, options)
  const sort = sortOf(subject, payload)
  if (sort === undefined) write()
  else if (sort === 'publish') publishing(line, options.reply ?? '', write)
  else if (sort === 'move(dead)') {
    buried.add(options.headers?.get('Nats-Msg-Id').split('.').at(-1) ?? '')
    write()
    here(line, 'move(dead):written')
  } else if (sort === 'retry') {
    at('ack(retry):before')
    write()
    here(line, 'move(retry):written')
  } else acknowledging(line, sort, write)
}

const watchedSubscribe: Protocol['subscribe'] = function (subscription) {
  const { callback } = subscription
  if (callback !== undefined)
    subscription.callback = (error, message) => {
      if (message.reply?.startsWith('$JS.ACK.') === true) at('deliver')
      callback(error, message)
      answered(message.subject)
    }
  return subscribe.call(this, subscription)
}

const watchedConnect: Connect = (options) => {
  at('connect')
  const opened = connect(options)
  void opened.then(
    (connection) => connection.closed().then(lost),
    () => {}, // whoever connects hears of it
  )
  return opened
}

export function watchNats(): void {
  Object.assign(ProtocolHandler.prototype, {
    publish: watchedPublish,
    subscribe: watchedSubscribe,
  })
  NatsConnectionImpl.connect = watchedConnect
}
