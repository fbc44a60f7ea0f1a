import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { PublishOutcome, Transport } from '../../src/core/transport.ts'
import { type Documents, type DocumentsOptions, document, documents } from '../../src/documents.ts'
import { event } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { redisDocuments } from '../../src/redis.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../redis/server.ts'

const here = redisIsHere()
let server: PrivateRedis

beforeAll(async () => {
  if (here) server = await openPrivateRedis({ fsync: 'off' })
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const Thing = document<object>('things')
const Happened = event<{ id: string }>('things.happened')
const confirmed: PublishOutcome = { kind: 'confirmed' }
const error = new Error('away')

type Answer = (message: OutgoingMessage) => PublishOutcome | Promise<PublishOutcome>

interface Place extends AsyncDisposable {
  readonly documents: Documents
  /** Ids of documents whose messages were confirmed, as they came. */
  readonly published: string[]
  /** Messages that were handed over. */
  handed: number
  attempts(id: string, count: number): Promise<void>
  change(...ids: readonly string[]): Promise<void>
}

async function open(answer: Answer, options: Partial<DocumentsOptions> = {}): Promise<Place> {
  const prefix = `r${randomUUID().slice(0, 8)}`
  const client = await createClient({ url: server.url })
    .on('error', () => {})
    .connect()
  const transport: Transport = {
    ...memoryTransport(),
    name: 'scripted',
    features: { ordering: 'per-key', maxMessageBytes: 1_000_000 },
    publish: (messages) =>
      messages.map(async (message) => {
        place.handed++
        const outcome = await answer(message)
        if (outcome.kind === 'confirmed') place.published.push(idOf(message))
        return outcome
      }),
  }
  const made = documents({
    name: 'things',
    storage: redisDocuments({ client, prefix }),
    transport,
    logger: false,
    pollIntervalMs: 20,
    ...options,
  })
  const place: Place = {
    documents: made,
    published: [],
    handed: 0,
    async attempts(id, count) {
      await client.hSet(`{${prefix}}:doc:things/${id}`, 'attempts', count)
    },
    async change(...ids) {
      for (const id of ids)
        await made.update(Thing, id, (_, { publish }) => {
          publish(Happened, { id })
          return {}
        })
    },
    async [Symbol.asyncDispose]() {
      await made[Symbol.asyncDispose]()
      client.destroy()
    },
  }
  return place
}

const idOf = ({ body }: OutgoingMessage): string =>
  (JSON.parse(Buffer.from(body).toString()) as { readonly id: string }).id

const named = (count: number): string[] => Array.from({ length: count }, (_, at) => `d${at}`)

async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await wait(10)
}

describe.skipIf(!here)('a relay that was killed again and again', () => {
  test('tries the suspects one at a time and buries the culprit alone, as one that may be published', async () => {
    let [now, most] = [0, 0]
    await using place = await open(async () => {
      most = Math.max(most, ++now)
      await wait(5)
      now--
      return confirmed
    })
    const innocent = named(20)
    await place.change(...innocent, 'culprit')
    for (const id of innocent) await place.attempts(id, 10)
    await place.attempts('culprit', 13)
    place.documents.start()
    await until(async () => (await place.documents.deadLetters.list()).length > 0)
    await until(() => place.published.length >= 20)
    expect(place.published.toSorted()).toEqual(innocent.toSorted())
    expect(most).toBe(1)
    expect(await place.documents.deadLetters.list()).toMatchObject([
      { reason: 'kills-relay', maybePublished: true, attempts: 14 },
    ])
  })

  test('publishes a suspect that is alone three times more before it is given up', async () => {
    const handed: string[] = []
    await using place = await open((message) => {
      handed.push(idOf(message))
      return { kind: 'refused', reason: 'refused', error, permanent: true }
    })
    await place.change('one')
    await place.attempts('one', 12)
    await place.documents.drain()
    expect(handed).toEqual(['one'])
    expect(await place.documents.deadLetters.list()).toMatchObject([
      { reason: 'refused', maybePublished: true },
    ])
  })
})

describe.skipIf(!here)('a destination that is away', () => {
  test('is asked by one document at a time, and everything goes out a few seconds after it is back', async () => {
    let away = true
    await using place = await open(() => (away ? { kind: 'unavailable', error } : confirmed))
    await place.change(...named(50))
    place.documents.start()
    await wait(4000)
    // The first ones meet it together; later only probes do.
    expect(place.handed).toBeLessThan(60)
    away = false
    const began = performance.now()
    await until(() => place.published.length >= 50)
    expect(performance.now() - began).toBeLessThan(7000)
    expect(place.published.toSorted()).toEqual(named(50).toSorted())
  })

  test('gets the document that waits as soon as its transport says that it is back', async () => {
    let away = true
    const back = Promise.withResolvers<void>()
    await using place = await open(() =>
      away ? { kind: 'unavailable', error, back: back.promise } : confirmed,
    )
    await place.change('one')
    place.documents.start()
    await wait(6000)
    away = false
    back.resolve()
    const began = performance.now()
    await until(() => place.published.length > 0)
    expect(performance.now() - began).toBeLessThan(700)
  })

  test('keeps nobody waiting who stops, nor who drains', async () => {
    const back = new Promise<void>(() => {})
    await using place = await open(() => ({ kind: 'unavailable', error, back }))
    await place.change('one')
    await place.documents.drain()
    place.documents.start()
    await wait(1500)
    const began = performance.now()
    await place.documents.stop()
    expect(performance.now() - began).toBeLessThan(1000)
    expect(await place.documents.deadLetters.list()).toEqual([])
  })
})

describe.skipIf(!here)('a transport that breaks its contract', () => {
  test.each<[string, () => never]>([
    [
      'throws',
      () => {
        throw error
      },
    ],
    ['answers nonsense', () => 'yes' as never],
  ])('%s: nobody knows what it did, and the message goes out again', async (_, broken) => {
    let handed = 0
    await using place = await open(() => (handed++ === 0 ? broken() : confirmed))
    await place.change('one')
    place.documents.start()
    await until(() => place.published.length > 0)
    expect(place.published).toEqual(['one'])
  })

  test('a message with an unknown outcome that is refused later may be published', async () => {
    let handed = 0
    await using place = await open(() =>
      handed++ === 0
        ? { kind: 'unknown', error }
        : { kind: 'refused', reason: 'refused', error, permanent: true },
    )
    await place.change('one')
    place.documents.start()
    await until(async () => (await place.documents.deadLetters.list()).length > 0)
    expect(await place.documents.deadLetters.list()).toMatchObject([{ maybePublished: true }])
  })
})
