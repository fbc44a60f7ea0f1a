import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { ConfirmChannel, Options } from 'amqplib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { toBuffer, toProperties } from '../../src/transports/rabbitmq/publish/envelope.ts'
import { Wire } from '../../src/transports/rabbitmq/publish/wire.ts'
import { messages } from './arbitraries.ts'
import { holdsFor } from './check.ts'

interface AmqpConnection {
  readonly sendMessage: (
    this: object,
    channel: number,
    method: number,
    fields: object,
    kind: number,
    properties: object,
    body: Buffer,
  ) => void
  readonly sendContent: unknown
}

const require = createRequire(import.meta.url)
const library = dirname(require.resolve('amqplib'))
const { Connection } = require(join(library, 'lib/connection.js')) as {
  Connection: { prototype: AmqpConnection }
}
const args = require(join(library, 'lib/api_args.js')) as {
  publish(exchange: string, key: string, options: Options.Publish): object
}
const defs = require(join(library, 'lib/defs.js')) as {
  readonly BasicPublish: number
  readonly BasicProperties: number
}

const CHANNEL = 258

/** A channel of amqplib as far as it writes, and what it has written. */
function amqp() {
  const pieces: Buffer[] = []
  const { sendMessage, sendContent } = Connection.prototype
  const channels = Array.from({ length: CHANNEL + 1 }, () => ({
    buffer: { write: (bytes: Buffer) => pieces.push(bytes) > 0 },
  }))
  const connection = {
    channels,
    frameMax: 8192,
    sendMessage,
    sendContent,
    sentSinceLastCheck: false,
  }
  const channel = {
    ch: CHANNEL,
    connection,
    sendMessage: () => {},
    pushConfirmCallback: () => {},
    publish(exchange: string, key: string, content: Buffer, options: Options.Publish): void {
      const all = args.publish(exchange, key, options)
      sendMessage.call(
        connection,
        CHANNEL,
        defs.BasicPublish,
        all,
        defs.BasicProperties,
        all,
        content,
      )
    },
  }
  return {
    channel: channel as unknown as ConfirmChannel,
    pieces,
    written: () => Buffer.concat(pieces),
  }
}

interface Parcel {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  readonly properties: Options.Publish
}

const plain: fc.Arbitrary<Parcel> = messages.map((message) => ({
  exchange: message.to.kind === 'topic' ? 'events' : '',
  routingKey: message.to.name,
  content: toBuffer(message.body),
  properties: toProperties(message),
}))

/**
 * What is left to the client: other properties, headers that are no texts, and what does not fit
 * into one frame.
 */
const other: fc.Arbitrary<Parcel> = fc
  .tuple(
    plain,
    fc.constantFrom<Options.Publish>(
      { headers: { 'x-mersal-copy': 1 } },
      { headers: { long: 'ß'.repeat(3000) } },
      { replyTo: 'answers' },
      { expiration: '1000' },
    ),
    fc.boolean(),
  )
  .map(([parcel, extra, large]) => ({
    ...parcel,
    properties: { ...parcel.properties, ...extra },
    content: large ? Buffer.alloc(20_000, 7) : parcel.content,
  }))

test('what is written together is, byte for byte, what the client would have written one by one', async () => {
  await holdsFor(
    [
      fc.array(fc.oneof({ weight: 5, arbitrary: plain }, { weight: 1, arbitrary: other }), {
        maxLength: 30,
      }),
    ],
    (parcels) => {
      const [ours, theirs] = [amqp(), amqp()]
      const wire = new Wire(ours.channel)
      wire.together(parcels.length, () => {
        for (const parcel of parcels) wire.write(parcel, parcel.content, parcel.properties)
      })
      for (const { exchange, routingKey, content, properties } of parcels)
        theirs.channel.publish(exchange, routingKey, content, {
          ...properties,
          mandatory: true,
          persistent: true,
        })
      expect(ours.written().equals(theirs.written())).toBe(true)
    },
  )
})

test('messages like each other leave in one piece when they are written together, and one by one at once', async () => {
  await holdsFor(
    [plain, fc.integer({ min: 1, max: 30 })],
    ({ content, properties, ...place }, count) => {
      const { channel, pieces } = amqp()
      const wire = new Wire(channel)
      const writeAll = (): void => {
        for (let written = 0; written < count; written++) wire.write(place, content, properties)
      }
      wire.together(count, writeAll)
      expect(pieces).toHaveLength(1)
      writeAll()
      expect(pieces).toHaveLength(1 + count)
    },
  )
})

test('a client that is built in another way, or whose calls somebody watches, writes by itself', () => {
  const { channel, pieces } = amqp()
  const published: string[] = []
  const strange = { publish: (_: string, key: string) => published.push(key) > 0 }
  const watched = {
    ...channel,
    publish: Object.assign(strange.publish.bind(strange), { __wrapped: true }),
  }
  for (const inside of [
    strange,
    watched,
    { ...channel, ...strange, connection: {} },
    { ...channel, ...strange, pushConfirmCallback: undefined },
  ]) {
    const wire = new Wire(inside as unknown as ConfirmChannel)
    wire.together(1, () =>
      wire.write({ exchange: '', routingKey: 'q' }, Buffer.from('{}'), { messageId: 'm' }),
    )
  }
  expect(published).toEqual(['q', 'q', 'q', 'q'])
  expect(pieces).toEqual([])
})

test('on a channel that begins to close nothing is written past the client, which says that it is closed', () => {
  const { channel, pieces } = amqp()
  const wire = new Wire(channel)
  const closing = (): never => {
    throw new Error('Channel closing')
  }
  const write = (): void =>
    wire.write({ exchange: '', routingKey: 'q' }, Buffer.from('{}'), { messageId: 'm' })
  wire.together(2, () => {
    write()
    Object.assign(channel, { sendMessage: closing, publish: closing })
    expect(write).toThrow('Channel closing')
  })
  expect(pieces).toEqual([])
})

test('names that are too long for AMQP are refused by the client, and take nothing with them', () => {
  const { channel, written } = amqp()
  const wire = new Wire(channel)
  wire.write({ exchange: '', routingKey: 'q' }, Buffer.from('{}'), { messageId: 'm' })
  const before = written()
  expect(() =>
    wire.write({ exchange: '', routingKey: 'q'.repeat(256) }, Buffer.from('{}'), {}),
  ).toThrow(/routingKey/)
  expect(() =>
    wire.write({ exchange: '', routingKey: 'q' }, Buffer.from('{}'), {
      messageId: 'm'.repeat(256),
    }),
  ).toThrow(/messageId/)
  expect(written()).toEqual(before)
})

test('what nothing waits before goes to the socket at once, and what something waits before goes behind that', () => {
  const { channel, written } = amqp()
  const { connection } = channel as unknown as {
    readonly connection: { readonly channels: { readonly buffer: object }[]; stream?: object }
  }
  const { buffer } = connection.channels[CHANNEL] as { readonly buffer: object }
  const straight: Buffer[] = []
  const socket = {
    writableNeedDrain: false,
    write: (bytes: Buffer) => straight.push(bytes) > 0,
  }
  connection.stream = socket
  Object.assign(buffer, { readableLength: 0, writableLength: 0 })
  const wire = new Wire(channel)
  const write = (messageId: string): void =>
    wire.write({ exchange: '', routingKey: 'q' }, Buffer.from('{}'), { messageId })
  write('straight away')
  expect([straight.length, written().length]).toEqual([1, 0])
  Object.assign(buffer, { readableLength: 7 })
  write('behind what the client has not read')
  Object.assign(buffer, { readableLength: 0, writableLength: 7 })
  write('behind what the channel has not taken')
  Object.assign(buffer, { writableLength: 0 })
  socket.writableNeedDrain = true
  write('when the socket takes more')
  expect(straight).toHaveLength(1)
  for (const text of ['not read', 'not taken', 'takes more'])
    expect(written().includes(text)).toBe(true)
})
