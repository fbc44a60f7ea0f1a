/** Watches the client of the broker. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Wire } from '../../../src/transports/rabbitmq/publish/wire.ts'
import { isLogged } from './log.ts'
import { at, awaited, connections } from './steps.ts'

interface Model {
  readonly stream: { destroy(error: Error): void; write(bytes: unknown): boolean }
  readonly channels: readonly { readonly buffer: { read(): unknown } }[]
}
interface AmqpChannel {
  readonly ch: number
  readonly connection: Model
}
interface ChannelPrototype {
  pushConfirmCallback: (this: AmqpChannel, callback: unknown) => void
  ack: (this: AmqpChannel, message: { properties: { messageId?: string } }) => unknown
  emit: (this: AmqpChannel, name: string, ...given: unknown[]) => boolean
  dispatchMessage: (this: AmqpChannel, fields: unknown, message: unknown) => unknown
  sendOrEnqueue: (this: AmqpChannel, method: number, fields: object, reply: unknown) => unknown
}

interface ConnectionPrototype {
  emit: (this: object, name: string, ...given: unknown[]) => boolean
  open: (this: object, ...given: unknown[]) => unknown
}

const require = createRequire(import.meta.url)
const library = dirname(require.resolve('amqplib'))
const { Channel } = require(join(library, 'lib/channel_model.js')) as {
  Channel: { prototype: ChannelPrototype }
}
const { Connection } = require(join(library, 'lib/connection.js')) as {
  Connection: { prototype: ConnectionPrototype }
}
const defs = require(join(library, 'lib/defs.js')) as Record<string, number>
const declarations = new Set([defs['QueueDeclare'], defs['QueueBind'], defs['ExchangeDeclare']])

/**
 * The client of the broker writes a little later: here and now instead, so that the broker has it
 * if the process dies.
 */
function flush({ connection, ch }: AmqpChannel): void {
  for (;;) {
    const bytes = connection.channels[ch]?.buffer.read()
    if (bytes === null || bytes === undefined) return
    connection.stream.write(bytes)
  }
}

/** A moment at which the broker has what has been written so far. */
function here(channel: AmqpChannel, moment: string, logged = false): void {
  if (awaited(moment, logged)) flush(channel)
  at(moment, logged)
}

/** `logged`: a publish of a message that the log has told of. */
type Written = 'publish' | 'logged' | 'move'
interface Lane {
  tag: number
  readonly open: Map<number, Written>
}
const lanes = new WeakMap<object, Lane>()
function laneOf(channel: object): Lane {
  const lane = lanes.get(channel) ?? { tag: 0, open: new Map() }
  lanes.set(channel, lane)
  return lane
}
let unconfirmed = 0
/** Of these, messages that the log has told of. */
let unconfirmedLogged = 0
let confirms = 0
/** What copies of deliveries have been written for, by the id of the message. */
const moved = new Map<string, 'retry' | 'dead' | 'back'>()

function moveOf(exchange: string, key: string): 'retry' | 'dead' | undefined {
  if (exchange !== '') return undefined
  if (key.endsWith('.dead')) return 'dead'
  return /\.retry\.\d+$/.test(key) ? 'retry' : undefined
}

const prototype = Channel.prototype
const original = {
  pushConfirmCallback: prototype.pushConfirmCallback,
  ack: prototype.ack,
  emit: prototype.emit,
  dispatchMessage: prototype.dispatchMessage,
}
const { sendOrEnqueue } = prototype

/** What can be written at once is written in one go, so that afterwards all of it is. */
function published(channel: AmqpChannel, logged: boolean): void {
  if (unconfirmed === 0) {
    confirms = 0
    setImmediate(() => {
      if (confirms === 0 && unconfirmed > 0)
        here(channel, 'publish all:written', unconfirmedLogged > 0)
    })
  }
  unconfirmed += 1
  if (logged) unconfirmedLogged += 1
}

/** The channel of each wire, known from its first message on. */
const channels = new WeakMap<Wire, AmqpChannel>()
let writing: AmqpChannel | undefined
type Write = (this: Wire, ...given: Parameters<Wire['write']>) => void
const { write } = Wire.prototype as { readonly write: Write }

/** What has been written on it so far is with the broker. */
function hereOn(wire: Wire, moment: string, logged = false): void {
  const known = channels.get(wire)
  if (known === undefined) return at(moment, logged)
  if (awaited(moment, logged)) wire.flush()
  here(known, moment, logged)
}

const writeOne: Write = function (place, content, properties) {
  const move = moveOf(place.exchange, place.routingKey)
  const name = move === undefined ? 'publish' : `move(${move})`
  const logged = isLogged(properties.messageId ?? '')
  if (move !== undefined) moved.set(properties.messageId ?? '', move)
  else if (unconfirmed > 0) hereOn(this, 'publish next:before', unconfirmedLogged > 0)
  at(`${name}:before`, logged)
  write.call(this, place, content, properties)
  if (writing === undefined) throw new Error('a message was written on no channel')
  channels.set(this, writing)
  connections.add(writing.connection)
  const lane = laneOf(writing)
  lane.open.set(++lane.tag, move === undefined ? (logged ? 'logged' : 'publish') : 'move')
  if (move === undefined) published(writing, logged)
  else hereOn(this, `${name}:written`)
}

function seen(on: AmqpChannel): void {
  writing = on
}

const channel: ChannelPrototype = {
  pushConfirmCallback(callback) {
    seen(this)
    original.pushConfirmCallback.call(this, callback)
  },
  emit(name, ...given) {
    if (name !== 'ack' && name !== 'nack') return original.emit.call(this, name, ...given)
    const { deliveryTag, multiple } = given[0] as { deliveryTag: number; multiple: boolean }
    const lane = laneOf(this)
    const tags = multiple
      ? [...lane.open.keys()].filter((tag) => tag <= deliveryTag)
      : [deliveryTag]
    const written = tags.map((tag) => lane.open.get(tag))
    const logged = written.filter((each) => each === 'logged').length
    const publishes = written.filter((each) => each === 'publish').length + logged
    for (const tag of tags) lane.open.delete(tag)
    unconfirmed = Math.max(0, unconfirmed - publishes)
    unconfirmedLogged = Math.max(0, unconfirmedLogged - logged)
    confirms += publishes
    const result = original.emit.call(this, name, ...given)
    if (publishes > 0 && unconfirmed > 0) at('confirm some', logged > 0)
    return result
  },
  dispatchMessage(fields, message) {
    at('deliver')
    return original.dispatchMessage.call(this, fields, message)
  },
  ack(message) {
    const id = message.properties.messageId ?? ''
    const name = moved.has(id) ? `ack(${moved.get(id)})` : 'ack'
    moved.delete(id)
    at(`${name}:before`)
    const result = original.ack.call(this, message)
    at(`${name}:buffered`)
    here(this, `${name}:written`)
    return result
  },
  sendOrEnqueue(method, fields, reply) {
    const result = sendOrEnqueue.call(this, method, fields, reply)
    if (declarations.has(method)) here(this, 'declare:written')
    return result
  },
}

const { emit: emitOfConnection, open } = Connection.prototype
const connection: ConnectionPrototype = {
  emit(name, ...given) {
    const result = emitOfConnection.call(this, name, ...given)
    if (name !== 'close') return result
    unconfirmed = 0
    unconfirmedLogged = 0
    at('broker lost')
    return result
  },
  open(...given) {
    at('connect')
    return open.apply(this, given)
  },
}

export function watchBroker(): void {
  Object.assign(prototype, channel)
  Wire.prototype.write = writeOne
  Object.assign(Connection.prototype, connection)
}
