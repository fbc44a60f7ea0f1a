/**
 * Loaded before a program that is to die: `node --import trap.js program.js`. It watches the clients of the
 * database and of the broker, so that the code of Mersal is the same as ever, and kills the process at the n-th
 * coming of a moment. What it was is written down before.
 */
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { statementName } from './moments.ts'
import type { Step } from './plan.ts'

const { steps, proof } = JSON.parse(process.env['CRASH_MATRIX_TRAP'] ?? '') as { steps: readonly Step[]; proof: string }
let current = 0
let seen = 0
const connections = new Set<{ readonly stream: { destroy(error: Error): void } }>()

export function at(moment: string): void {
  const step = steps[current]
  if (step?.moment !== moment) return
  seen += 1
  if (seen < (step.nth ?? 1)) return
  current += 1
  seen = 0
  if (step.do === 'reset') for (const { stream } of connections) stream.destroy(new Error('read ECONNRESET'))
  else if (step.do === 'term') process.kill(process.pid, 'SIGTERM')
  else if (current === steps.length) {
    writeFileSync(proof, JSON.stringify({ pid: process.pid, moment }))
    process.kill(process.pid, 'SIGKILL')
  }
}
;(globalThis as { crashMatrixAt?: (moment: string) => void }).crashMatrixAt = at
process.on('SIGTERM', () => void setImmediate(() => at('stop asked')))

// ---- The database ----

interface Watched {
  /** Statements of the transaction that is open. */
  done: Set<string>
  /** Statements of the transaction that was committed last. */
  committed: Set<string>
}

const watched = new WeakMap<object, Watched>()

function watchedOf(client: object): Watched {
  const known = watched.get(client) ?? { done: new Set(), committed: new Set() }
  watched.set(client, known)
  return known
}

function momentsOf(name: string, values: readonly unknown[], state: Watched): readonly string[] {
  if (name === 'commit') return [...state.done].map((each) => `commit(${each})`)
  return name === 'settle' && Array.isArray(values[0]) && values[0].length > 1 ? ['settle', 'settle many'] : [name]
}

function answered(client: object, name: string): void {
  const state = watchedOf(client)
  if (name === 'begin' || name === 'own begin') state.committed = new Set()
  else if (name === 'commit') state.committed = state.done
  else return
  state.done = new Set()
}

interface Wire {
  parse(statement: { readonly text: string }): void
  once(event: 'commandComplete', listener: (message: { readonly text: string }) => void): unknown
}

interface Flight {
  readonly text?: string
  callback?: (error: unknown, ...given: unknown[]) => void
  submit(connection: Wire): unknown
  handleCommandComplete(message: { readonly text: string }, ...given: unknown[]): void
}

const isFlight = (first: unknown): first is Flight => typeof first === 'object' && first !== null && 'submit' in first

/** A query in whose flight BEGIN or COMMIT may travel: the moments of these, which no call of `query` tells. */
function watchFlight(flight: Flight, state: Watched): void {
  const own = flight.text === undefined ? undefined : statementName(flight.text)
  const { callback } = flight
  const submit = flight.submit.bind(flight)
  const complete = flight.handleCommandComplete.bind(flight)
  let moments: readonly string[] = []
  flight.submit = (connection) => {
    const parse = (statement: { readonly text: string }): void => {
      const name = statementName(statement.text)
      if (name === 'begin') {
        Object.assign(state, { committed: new Set(), done: new Set(own === undefined ? [] : [own]) })
        at('begin:before')
        connection.once('commandComplete', ({ text }) => text === 'BEGIN' && at('begin:answered'))
      }
      if (name === 'commit') moments = momentsOf(name, [], state)
      for (const moment of name === 'commit' ? moments : []) at(`${moment}:before`)
      connection.parse(statement)
    }
    const result = submit(Object.assign(Object.create(connection) as typeof connection, { parse }))
    for (const moment of moments) at(`${moment}:sent`)
    return result
  }
  flight.handleCommandComplete = (message, ...given) => {
    if (moments.length > 0 && own === 'save' && message.text.startsWith('INSERT')) at('save in flight:answered')
    complete(message, ...given)
  }
  flight.callback = (error, ...given) => {
    if (moments.length > 0 && !error) {
      Object.assign(state, { committed: state.done, done: new Set() })
      for (const moment of moments) at(`${moment}:answered`)
    } else if (own !== undefined && !error) at(`${own}:answered`)
    callback?.(error, ...given)
  }
}

type Query = (this: object, ...given: readonly unknown[]) => unknown
const client = pg.Client.prototype as unknown as { query: Query; emit: Query }
const { query, emit } = client

client.query = function watch(this: object, ...given) {
  const [first] = given
  if (isFlight(first)) watchFlight(first, watchedOf(this))
  const config = (typeof first === 'string' ? { text: first } : first) as { text?: unknown; values?: readonly unknown[] }
  const name = typeof config.text === 'string' ? statementName(config.text) : undefined
  if (name === undefined) return query.apply(this, [...given])
  const state = watchedOf(this)
  // An empty claim is none: nothing would be at stake. Only its answer tells.
  if (!['begin', 'own begin', 'commit', 'rollback', 'claim', 'take'].includes(name)) state.done.add(name)
  const moments = momentsOf(name, config.values ?? (given[1] as readonly unknown[] | undefined) ?? [], state)
  const tell = (when: string): void => {
    for (const moment of moments) at(`${moment}:${when}`)
  }
  tell('before')
  const answer = query.apply(this, [...given])
  tell('sent')
  if (!(answer instanceof Promise)) return answer
  return answer.then((result: { rows?: readonly unknown[] }) => {
    answered(this, name)
    const takes = name === 'claim' || name === 'take'
    if (takes && result.rows?.length === 0) return result
    if (takes) state.done.add(name)
    tell('answered')
    return result
  })
}

client.emit = function heard(this: object, ...given) {
  if (given[0] === 'notification') at('notification')
  return emit.apply(this, [...given])
}

const pool = pg.Pool.prototype as unknown as { emit: Query }
const emitOfPool = pool.emit
pool.emit = function released(this: object, ...given) {
  if (given[0] === 'release') for (const each of watchedOf(given[2] as object).committed) at(`given back(${each})`)
  return emitOfPool.apply(this, [...given])
}

// ---- The broker ----

interface Model {
  readonly stream: { destroy(error: Error): void; write(bytes: unknown): boolean }
  readonly channels: readonly { readonly buffer: { read(): unknown } }[]
}
interface AmqpChannel {
  readonly ch: number
  readonly connection: Model
}
interface ChannelPrototype {
  publish: (this: AmqpChannel, exchange: string, key: string, content: Buffer, options?: { messageId?: string }) => unknown
  ack: (this: AmqpChannel, message: { properties: { messageId?: string } }) => unknown
  emit: (this: AmqpChannel, name: string, ...given: unknown[]) => boolean
  dispatchMessage: (this: AmqpChannel, fields: unknown, message: unknown) => unknown
  sendOrEnqueue: (this: AmqpChannel, method: number, fields: object, reply: unknown) => unknown
}

const require = createRequire(import.meta.url)
const library = dirname(require.resolve('amqplib'))
const { Channel } = require(join(library, 'lib/channel_model.js')) as { Channel: { prototype: ChannelPrototype } }
const { Connection } = require(join(library, 'lib/connection.js')) as {
  Connection: {
    prototype: { emit: (this: object, name: string, ...given: unknown[]) => boolean; open: (this: object, ...given: unknown[]) => unknown }
  }
}
const defs = require(join(library, 'lib/defs.js')) as Record<string, number>
const declarations = new Set([defs['QueueDeclare'], defs['QueueBind'], defs['ExchangeDeclare']])

/** The client of the broker writes a little later: here and now instead, so that the broker has it if the process dies. */
function flush({ connection, ch }: AmqpChannel): void {
  for (;;) {
    const bytes = connection.channels[ch]?.buffer.read()
    if (bytes === null || bytes === undefined) return
    connection.stream.write(bytes)
  }
}

/** A moment at which the broker has what has been written so far. */
function here(channel: AmqpChannel, moment: string): void {
  if (steps[current]?.moment === moment) flush(channel)
  at(moment)
}

type Written = 'publish' | 'move'
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
let confirms = 0
/** What copies of deliveries have been written for, by the id of the message. */
const moved = new Map<string, 'retry' | 'dead' | 'back'>()

function moveOf(exchange: string, key: string): 'retry' | 'dead' | undefined {
  if (exchange !== '') return undefined
  if (key.endsWith('.dead')) return 'dead'
  return /\.retry\.\d+$/.test(key) ? 'retry' : undefined
}

const prototype = Channel.prototype
const original = { publish: prototype.publish, ack: prototype.ack, emit: prototype.emit, dispatchMessage: prototype.dispatchMessage }
const { sendOrEnqueue } = prototype

prototype.publish = function publish(exchange, key, content, options) {
  connections.add(this.connection)
  const move = moveOf(exchange, key)
  const name = move === undefined ? 'publish' : `move(${move})`
  if (move !== undefined) moved.set(options?.messageId ?? '', move)
  else if (unconfirmed > 0) here(this, 'publish next:before')
  at(`${name}:before`)
  const result = original.publish.call(this, exchange, key, content, options)
  const lane = laneOf(this)
  lane.open.set(++lane.tag, move === undefined ? 'publish' : 'move')
  if (move === undefined) published(this)
  else here(this, `${name}:written`)
  return result
}

/** What can be written at once is written in one go, so that afterwards all of it is. */
function published(channel: AmqpChannel): void {
  if (unconfirmed === 0) {
    confirms = 0
    setImmediate(() => {
      if (confirms === 0 && unconfirmed > 0) here(channel, 'publish all:written')
    })
  }
  unconfirmed += 1
}

prototype.emit = function emitted(name, ...given) {
  if (name !== 'ack' && name !== 'nack') return original.emit.call(this, name, ...given)
  const { deliveryTag, multiple } = given[0] as { deliveryTag: number; multiple: boolean }
  const lane = laneOf(this)
  const tags = multiple ? [...lane.open.keys()].filter((tag) => tag <= deliveryTag) : [deliveryTag]
  const publishes = tags.filter((tag) => lane.open.get(tag) === 'publish').length
  for (const tag of tags) lane.open.delete(tag)
  unconfirmed = Math.max(0, unconfirmed - publishes)
  confirms += publishes
  const result = original.emit.call(this, name, ...given)
  if (publishes > 0 && unconfirmed > 0) at('confirm some')
  return result
}

prototype.dispatchMessage = function delivered(fields, message) {
  at('deliver')
  return original.dispatchMessage.call(this, fields, message)
}

prototype.ack = function ack(message) {
  const id = message.properties.messageId ?? ''
  const name = moved.has(id) ? `ack(${moved.get(id)})` : 'ack'
  moved.delete(id)
  at(`${name}:before`)
  const result = original.ack.call(this, message)
  at(`${name}:buffered`)
  here(this, `${name}:written`)
  return result
}

prototype.sendOrEnqueue = function asked(method, fields, reply) {
  const result = sendOrEnqueue.call(this, method, fields, reply)
  if (declarations.has(method)) here(this, 'declare:written')
  return result
}

const { emit: emitOfConnection, open } = Connection.prototype
Connection.prototype.emit = function emitted(name, ...given) {
  const result = emitOfConnection.call(this, name, ...given)
  if (name === 'close') unconfirmed = 0
  if (name === 'close') at('broker lost')
  return result
}
Connection.prototype.open = function opened(...given) {
  at('connect')
  return open.apply(this, given)
}
