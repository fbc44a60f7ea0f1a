import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Options } from 'amqplib'
import { command, type Envelope, Mersal } from '../../src/index.ts'
import { plainClient } from '../rabbitmq/plain-client.ts'
import type { Result } from './input.ts'
import { listLetters } from './listing.ts'
import { logger, type Place } from './places.ts'
import { checkPrototypes } from './soundness.ts'

/** A message as any other program may put it into the queue of an app. */
interface Foreign {
  readonly name: string
  readonly properties?: Options.Publish
  readonly body?: Uint8Array
  readonly ends: 'handled' | 'dead letter'
}

const Work = command('foreign.work')
const APP = 'foreign'

const attempt = (value: unknown): Foreign => ({
  name: `attempt ${JSON.stringify(value) ?? ''}`,
  properties: { headers: { 'x-mersal-attempt': value } },
  ends: 'handled',
})

const foreign: readonly Foreign[] = [
  { name: 'no id', properties: { messageId: undefined as never }, ends: 'dead letter' },
  { name: 'no type', properties: { type: undefined as never }, ends: 'dead letter' },
  { name: 'a type of 255 bytes', properties: { type: 'x'.repeat(255) }, ends: 'dead letter' },
  {
    name: 'a type of control characters',
    properties: { type: '\u001b[2J\r\n\u202e' },
    ends: 'dead letter',
  },
  { name: 'no body', body: new Uint8Array(0), ends: 'dead letter' },
  { name: 'a body of another kind', body: new Uint8Array([0xff, 0x00]), ends: 'dead letter' },
  ...[-1, 0, 1.5, 1e308, '∞', '-1', null, { a: 1 }, [2]].map(attempt),
  {
    name: 'attempts beyond counting',
    properties: { headers: { 'x-mersal-attempt': 1_000_000 } },
    ends: 'dead letter',
  },
  {
    name: 'headers of every kind',
    properties: {
      headers: {
        a: 1,
        b: true,
        c: { d: [{ e: null }] },
        f: [1, 'x'],
        g: Buffer.from([0xff]),
        h: new Date(0),
        i: 2 ** 53,
      },
    },
    ends: 'handled',
  },
  {
    name: '__proto__ among the headers',
    properties: { headers: JSON.parse('{"__proto__": {"polluted": "yes"}, "constructor": "x"}') },
    ends: 'handled',
  },
  {
    name: 'two headers that differ in case',
    properties: { headers: { 'X-A': '1', 'x-a': '2' } },
    ends: 'handled',
  },
  { name: 'headers of 60 kB', properties: { headers: { a: 'x'.repeat(60_000) } }, ends: 'handled' },
  {
    name: 'a foreign key of a dead letter',
    properties: { headers: { 'x-mersal-dead-key': { a: 1 } }, type: 'unknown' },
    ends: 'dead letter',
  },
  {
    name: 'a reason and an error of somebody else',
    properties: { headers: { 'x-mersal-reason': 'none', 'x-mersal-error': 5 }, type: 'unknown' },
    ends: 'dead letter',
  },
  {
    name: 'a history that is no JSON',
    properties: { headers: { 'x-mersal-history': '{' }, type: 'unknown' },
    ends: 'dead letter',
  },
  {
    name: 'a content encoding that is none',
    properties: { contentEncoding: 'gzip' },
    ends: 'handled',
  },
  {
    name: 'a content type that nobody reads',
    properties: { contentType: 'application/x-bomb' },
    ends: 'dead letter',
  },
  {
    name: 'two content types',
    properties: {
      contentType: 'application/json',
      headers: { 'content-type': 'application/x-msgpack' },
    },
    ends: 'dead letter',
  },
  {
    name: 'a reply to another host',
    properties: {
      replyTo: 'amqp://evil.example',
      correlationId: 'x'.repeat(255),
      appId: 'a',
      priority: 255,
    },
    ends: 'handled',
  },
  { name: 'a time beyond all', properties: { timestamp: 2 ** 52 }, ends: 'handled' },
  { name: 'not durable', properties: { deliveryMode: 1, persistent: false }, ends: 'handled' },
]

/** Messages of another client in the queue of an app on RabbitMQ. */
export async function foreignMessages(place: Place): Promise<Result[]> {
  await place.transport.subscribe(APP, [])
  await using client = await plainClient(place.url!)
  const ids = foreign.map(() => ({ damaged: randomUUID(), mate: randomUUID() }))
  for (const [index, { properties, body }] of foreign.entries()) {
    const { damaged, mate } = ids[index]!
    const mark = { headers: { mark: damaged, ...properties?.headers } }
    client.channel.sendToQueue(APP, Buffer.from(body ?? Buffer.from('{}')), {
      messageId: damaged,
      type: Work.name,
      ...properties,
      ...mark,
    })
    client.channel.sendToQueue(APP, Buffer.from('{}'), {
      messageId: mate,
      type: Work.name,
      headers: { mark: mate },
    })
  }
  const handled = new Set<string>()
  const app = new Mersal<unknown>({
    name: APP,
    store: place.store,
    transport: place.transport,
    receive: { maxDeliveries: 10, immediateRetries: 0 },
    logger,
  })
  app.handle(
    Work,
    (_, { message }: { readonly message: Envelope }) =>
      void handled.add(message.headers['mark'] ?? ''),
  )
  await app.start()
  let dead = new Set<string>()
  for (let look = 0; look < 100; look++) {
    dead = new Set(
      (await listLetters(place, APP, new Set())).map(({ headers }) => headers['mark'] ?? ''),
    )
    if (
      ids.every(
        ({ damaged, mate }) => handled.has(mate) && (handled.has(damaged) || dead.has(damaged)),
      )
    )
      break
    await pause(100)
  }
  await app.stop()
  checkPrototypes()
  return foreign.map(({ name, ends }, index) => {
    const { damaged, mate } = ids[index]!
    const common = { generator: 'G10', adapter: place.adapter, input: `foreign: ${name}` }
    const found = handled.has(damaged) ? 'handled' : dead.has(damaged) ? 'dead letter' : 'lost'
    if (!handled.has(mate))
      return { ...common, verdict: 'failed', why: 'the message behind it was not handled' }
    if (found !== ends)
      return { ...common, verdict: 'failed', why: `expected ${ends}, but it is ${found}` }
    return { ...common, verdict: found === 'handled' ? 'round trip' : 'refused' }
  })
}
