import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import type { PublishOutcome } from '../../../src/core/transport.ts'
import { decodeBundle } from '../../../src/transports/rabbitmq/bundles/bundle-format.ts'
import { Bundler } from '../../../src/transports/rabbitmq/bundles/bundler.ts'
import { toQueue, toTopic } from '../../rabbitmq/messages.ts'

const confirmed: PublishOutcome = { kind: 'confirmed' }
const refused: PublishOutcome = {
  kind: 'refused',
  reason: 'refused',
  error: new Error('nack'),
  permanent: false,
}
const unroutable: PublishOutcome = {
  kind: 'refused',
  reason: 'unroutable',
  error: new Error('returned'),
  permanent: false,
}
const unknown: PublishOutcome = { kind: 'unknown', error: new Error('no answer') }

interface Setup {
  readonly messages?: number
  readonly bytes?: number
  readonly events?: boolean
  readonly brokerLimit?: number
  readonly onBundle?: (types: readonly string[]) => PublishOutcome
  readonly onOne?: (type: string) => PublishOutcome
}

/** A bundler whose broker is told what to answer, and what came there: `a+b` for a bundle. */
function bundler({
  onBundle = () => confirmed,
  onOne = () => confirmed,
  brokerLimit = Number.POSITIVE_INFINITY,
  ...settings
}: Setup = {}) {
  const came: string[] = []
  const made = new Bundler(
    {
      brokerLimit,
      together: (_, work) => work(),
      problem: ({ type }) => (type === 'impossible' ? refused : undefined),
      one: ({ type }) => {
        came.push(type)
        return Promise.resolve(onOne(type))
      },
      deliver: (to, { content }) => {
        const types = decodeBundle(content).map(({ type }) => type)
        came.push(types.join('+'))
        return Promise.resolve(onBundle(types))
      },
    },
    { messages: 3, bytes: 10_000, events: false, ...settings },
  )
  const publish = async (...messages: readonly OutgoingMessage[]): Promise<string[]> =>
    (await Promise.all(made.publish(messages, undefined))).map(({ kind }) => kind)
  return {
    came,
    publish,
    together: (messages: readonly OutgoingMessage[]) => made.together(messages),
  }
}

const to = (queue: string, type: string, extra: Partial<OutgoingMessage> = {}): OutgoingMessage =>
  toQueue(queue, { type, ...extra })
const of = (key: string, type: string): OutgoingMessage => to('q', type, { partitionKey: key })

describe('what one call hands over', () => {
  test('is bundled by destination, up to the most messages, and a single one travels as it always did', async () => {
    const { came, publish } = bundler()
    const kinds = await publish(
      to('q', 'a'),
      to('r', 'x'),
      to('q', 'b'),
      to('q', 'c'),
      to('q', 'd'),
    )
    expect(came).toEqual(['a+b+c', 'd', 'x'])
    expect(kinds).toEqual(Array.from({ length: 5 }, () => 'confirmed'))
  })

  test('is bundled up to the most bytes, of the option and of the broker', async () => {
    const large = (type: string): OutgoingMessage => to('q', type, { body: Buffer.alloc(400) })
    for (const limits of [{ bytes: 1024 }, { brokerLimit: 1024 }]) {
      const { came, publish } = bundler(limits)
      await publish(
        large('a'),
        large('b'),
        large('c'),
        to('q', 'vast', { body: Buffer.alloc(1000) }),
      )
      expect(came).toEqual(['a+b', 'vast', 'c'])
    }
  })

  test('is not bundled if it is an event, unless that is wanted', async () => {
    const events = [toTopic('t'), toTopic('t'), toTopic('u')]
    const [without, withThem] = [bundler(), bundler({ events: true })]
    await without.publish(...events)
    await withThem.publish(...events)
    expect(without.came).toHaveLength(3)
    expect(withThem.came).toEqual(['test.message+test.message', 'test.message'])
  })

  test('is bundled without what is refused anyway', async () => {
    const { came, publish } = bundler()
    await publish(to('q', 'a'), to('q', 'impossible'), to('q', 'b'))
    expect(came).toEqual(['impossible', 'a+b'])
  })

  test('keeps the messages of a key in one bundle, as far as was announced', async () => {
    const { came, publish, together } = bundler()
    const run = [of('k', 'k1'), of('k', 'k2'), of('k', 'k3'), of('k', 'k4')]
    expect(together(run)).toBe(3)
    await publish(of('x', 'x1'), of('y', 'y1'), ...run.slice(0, 2), of('z', 'z1'))
    expect(came).toEqual(['x1+y1', 'k1+k2+z1'])
  })

  test('announces no more of a key than fits into one bundle to one destination', () => {
    const { together } = bundler({ messages: 10, bytes: 1024 })
    const large = to('q', 'l', { body: Buffer.alloc(400) })
    expect(together([large, large, large])).toBe(2)
    expect(together([of('k', 'a'), to('r', 'b'), of('k', 'c')])).toBe(1)
    expect(together([of('k', 'a'), of('k', 'impossible'), of('k', 'c')])).toBe(1)
    expect(together([of('k', 'impossible')])).toBe(1)
  })
})

describe('the answer for a bundle', () => {
  test.each([
    ['unknown', unknown],
    ['refused', unroutable],
  ] as const)(
    'is the answer for each of its messages, if it says nothing of them: %s',
    async (kind, outcome) => {
      const { came, publish } = bundler({ onBundle: () => outcome })
      expect(await publish(to('q', 'a'), to('q', 'b'))).toEqual([kind, kind])
      expect(came).toEqual(['a+b'])
    },
  )

  test('that was refused is no answer for its messages: each is tried alone, and only the culprit is refused', async () => {
    const { came, publish } = bundler({
      onBundle: () => refused,
      onOne: (type) => (type === 'b' ? refused : confirmed),
    })
    expect(await publish(to('q', 'a'), to('q', 'b'), to('q', 'c'))).toEqual([
      'confirmed',
      'refused',
      'confirmed',
    ])
    expect(came).toEqual(['a+b+c', 'a', 'b', 'c'])
  })

  test('that was refused lets nothing of a key pass what was not confirmed before it', async () => {
    const { came, publish } = bundler({
      onBundle: () => refused,
      onOne: (type) => (type === 'k1' ? refused : confirmed),
    })
    expect(await publish(of('k', 'k1'), of('k', 'k2'), of('x', 'x1'))).toEqual([
      'refused',
      'unavailable',
      'confirmed',
    ])
    expect(came).toEqual(['k1+k2+x1', 'k1', 'x1'])
  })
})
