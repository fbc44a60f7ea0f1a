import { event, Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import type { Travelling, Trial, Verdict } from './input.ts'
import type { Place } from './places.ts'
import { checkPrototypes, refuses } from './soundness.ts'

const key = (
  name: string,
  partitionKey: unknown,
  ends: Travelling['ends'] = 'arrives',
): Travelling => ({
  name: `key: ${name}`,
  send: (sender, { Keep }) =>
    sender.sendLocal(Keep, { name }, { partitionKey: partitionKey as string }),
  ends,
})

const topic = (name: string): Travelling => ({
  name: `topic: ${name.slice(0, 40)}`,
  type: () => event(name),
  send: (sender) => sender.publish(event(name), { name }),
  ends: 'arrives',
})

/** Keys and topics of a running app. */
export const keysAndTopics: readonly Travelling[] = [
  key('255 bytes', 'ö'.repeat(127) + 'x'),
  key('256 bytes', 'ö'.repeat(128), 'MERSAL_INVALID_MESSAGE'),
  key('empty', '', 'MERSAL_INVALID_MESSAGE'),
  key('__proto__', '__proto__'),
  key('constructor', 'constructor'),
  key('tag of Redis', '{tag}'),
  key('spaces', '  a  '),
  key('NUL', 'a\0', 'MERSAL_INVALID_MESSAGE'),
  key('a lone surrogate', '\udc00', 'MERSAL_INVALID_MESSAGE'),
  key('meta characters of regular expressions', '(a+)+$|.*[\\'),
  key('28 characters for a slow pattern', `${'a'.repeat(28)}!`),
  key('SQL', "'); DROP TABLE outbox; --"),
  key('characters of LIKE', '%_\\'),
  key('emoji', '🎓'),
  key('composed and not', 'cafe\u0301'),
  key('a number', 5, 'MERSAL_INVALID_MESSAGE'),
  key('an object', { toString: () => 'a' }, 'MERSAL_INVALID_MESSAGE'),
  key('null', null, 'MERSAL_INVALID_MESSAGE'),
  topic('a..b'),
  topic('a.b.'),
  // An app that handles it does not start on RabbitMQ; see below.
  { ...topic('amq.direct'), on: ({ adapter }) => adapter !== 'rabbitmq' },
  topic('JS.API.CONSUMER'),
  topic('consumer_offsets'),
  topic('t'.repeat(200)),
  topic('a/b:c-d_e'),
  topic('__proto__'.slice(2)),
]

const badQueues: Readonly<Record<string, unknown>> = {
  empty: '',
  $SYS: '$SYS.ACCOUNT',
  'wildcard *': 'orders.*',
  'wildcard >': 'orders.>',
  'tag of Redis': '{tag}',
  spaces: 'a b',
  NUL: 'a\0b',
  unicode: 'größe',
  '201 characters': 'q'.repeat(201),
  'an array': ['q'],
}

const queue = (name: string, value: string): Trial => ({
  name: `queue: ${name}`,
  async run({ transport, incoming, adapter }): Promise<Verdict> {
    if (adapter === 'rabbitmq' && value.startsWith('amq.'))
      return refuses('MERSAL_INVALID_OPTIONS', () => transport.subscribe(value, []))
    await transport.subscribe(value, [])
    const to = { transport: 'default', kind: 'queue', name: value } as const
    const body = Buffer.from(name)
    const [outcome] = await Promise.all(
      transport.publish([{ id: 'a', type: 't', headers: { a: 'b' }, body, to }]),
    )
    if (outcome?.kind !== 'confirmed')
      throw new Error(`publishing answered ${outcome?.kind ?? 'nothing'}`)
    const came = Promise.withResolvers<string>()
    const consumer = await transport.consume(
      { queue: value, concurrency: 1 },
      async ({ message, queue: from }) => {
        came.resolve(`${from} ${Buffer.from(message.body).toString()}`)
        return { kind: 'reject', reason: 'rejected', error: new Error('unwanted') }
      },
    )
    const arrived = await came.promise
    await consumer[Symbol.asyncDispose]()
    if (arrived !== `${value} ${name}`) throw new Error(`got ${arrived}`)
    const letters = await incoming(value).list({ limit: 1000 })
    if (!letters.some((letter) => letter.place === value && Buffer.from(letter.body).equals(body)))
      throw new Error('no dead letter')
    return 'round trip'
  },
})

const bindings = (count: number): Trial => ({
  name: `${count} topics of one queue`,
  async run({ transport }): Promise<Verdict> {
    const topics = Array.from({ length: count }, (_, n) => `many.${n}`)
    await transport.subscribe('many', topics)
    await transport.subscribe('many', topics, { remove: true })
    return 'round trip'
  },
})

export const queues: readonly Trial[] = [
  {
    name: 'topic: amq.direct on RabbitMQ',
    on: ({ adapter }) => adapter === 'rabbitmq',
    run: ({ transport }) =>
      refuses('MERSAL_INVALID_OPTIONS', () => transport.subscribe('q', ['amq.direct'])),
  },
  ...Object.entries(badQueues).map(
    ([name, value]): Trial => ({
      name: `queue: ${name}`,
      async run(place: Place): Promise<Verdict> {
        await refuses(
          'MERSAL_INVALID_OPTIONS',
          () => new Mersal({ name: value as string, transport: memoryTransport() }),
        )
        await refuses(
          'MERSAL_INVALID_OPTIONS',
          () =>
            new Mersal({ name: 'a', transport: place.transport, routes: { t: value as string } }),
        )
        checkPrototypes()
        return 'refused'
      },
    }),
  ),
  queue('amq. of RabbitMQ', 'amq.gen-1'),
  queue('name of a dead-letter queue', 'inputs.dead.x'),
  queue('leading digit and dots', '0..1.'),
  queue('200 characters', 'q'.repeat(200)),
  queue('constructor', 'constructor'),
  bindings(500),
]
