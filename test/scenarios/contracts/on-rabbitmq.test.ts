import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Packr } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import {
  Mersal,
  type MersalOptions,
  type Serializer,
  command,
  jsonSerializer,
} from '../../../src/index.ts'
import { claimCheck, encryption, fileBodies } from '../../../src/contracts/index.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { openVhost, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'

const packr = new Packr({ useRecords: false })
const msgpack: Serializer = {
  contentType: 'application/msgpack',
  encode: (value) => packr.pack(value),
  decode: (body) => packr.unpack(body) as unknown,
}
const broker = await rabbitIsHere()

function open(name: string, url: string, options: Partial<MersalOptions<undefined>> = {}) {
  const transport = rabbitmq({ url, newQueuePauseMs: 0, logger: false })
  return new Mersal({
    name,
    transport,
    logger: false,
    routes: { 'photos.store': 'photos' },
    ...options,
  })
}

describe.skipIf(!broker)('over RabbitMQ', () => {
  test('an older and a packed body reach the handler as the present one, as a plain client sees them', async () => {
    await using place = await openVhost()
    await using plain = await plainClient(place.url)
    const Old = command<{ day: string }>('photos.store')
    const New = command<{ taken: Date }>('photos.store', undefined, {
      version: 2,
      upcast: { 1: ({ day }: { day: string }) => ({ taken: new Date(day) }) },
      contentType: 'application/msgpack',
    })
    await using receiver = open('photos', place.url, { serializers: [jsonSerializer, msgpack] })
    await using sender = open('sender', place.url, { serializers: [jsonSerializer, msgpack] })
    await plain.channel.assertQueue('copy', { durable: true })
    const seen: Date[] = []
    const both = Promise.withResolvers<void>()
    receiver.handle(New, ({ taken }) => {
      if (seen.push(taken) === 2) both.resolve()
    })
    await receiver.start()
    await sender.direct.send(Old, { day: '2026-05-04' })
    await sender.direct.send(New, { taken: new Date('2026-05-05') })
    await both.promise
    expect(seen).toEqual([new Date('2026-05-04'), new Date('2026-05-05')])

    await using copying = open('sender', place.url, {
      serializers: [jsonSerializer, msgpack],
      routes: { 'photos.store': 'copy' },
    })
    await copying.direct.send(New, { taken: new Date('2026-05-05') })
    const [copy] = await plain.drain('copy')
    expect(copy?.properties.contentType).toBe('application/msgpack')
    expect(copy?.properties.headers?.['message-version']).toBe('2')
    expect(packr.unpack(copy!.content)).toEqual({ taken: new Date('2026-05-05') })
  })

  test('a body from the future waits until the app is replaced by a newer one', async () => {
    await using place = await openVhost()
    const Old = command<{ day: string }>('photos.store')
    const New = command<{ taken: string }>('photos.store', undefined, {
      version: 2,
      upcast: { 1: ({ day }: { day: string }) => ({ taken: day }) },
    })
    const waits = Promise.withResolvers<void>()
    const ignore = (): void => {}
    const warn = (_: object, text: string): void => {
      if (text.includes('newer version')) waits.resolve()
    }
    const logger = { debug: ignore, info: ignore, error: ignore, warn }
    const older = open('photos', place.url, { logger, receive: { maxDeliveries: 1 } })
    older.handle(Old, ignore)
    await older.start()
    await using sender = open('sender', place.url)
    await sender.direct.send(New, { taken: '2026-05-05' })
    await waits.promise
    await older.stop()
    const handled = Promise.withResolvers<unknown>()
    await using newer = open('photos', place.url, { receive: { maxDeliveries: 1 } })
    newer.handle(New, (body) => handled.resolve(body))
    await newer.start()
    expect(await handled.promise).toEqual({ taken: '2026-05-05' })
  })

  test('a large secret body arrives, and neither the broker nor the folder shows it', async () => {
    await using place = await openVhost()
    await using plain = await plainClient(place.url)
    const directory = mkdtempSync(join(tmpdir(), 'mersal-bodies-'))
    const codecs = [
      encryption({ keys: { k1: randomBytes(32) }, current: 'k1' }),
      claimCheck({ store: fileBodies({ directory }), aboveBytes: 10_000 }),
    ]
    const Store = command<{ pixels: string }>('photos.store')
    const handled = Promise.withResolvers<{ pixels: string }>()
    await using receiver = open('photos', place.url, { codecs })
    receiver.handle(Store, (body) => handled.resolve(body))
    await receiver.start()
    const pixels = 'red green blue '.repeat(100_000)
    await using sender = open('sender', place.url, { codecs })
    await sender.direct.send(Store, { pixels })
    expect((await handled.promise).pixels).toBe(pixels)

    await plain.channel.assertQueue('copy', { durable: true })
    await using copying = open('sender', place.url, { codecs, routes: { 'photos.store': 'copy' } })
    await copying.direct.send(Store, { pixels })
    await copying.direct.send(Store, { pixels: 'red green blue' })
    const [large, small] = await plain.drain('copy')
    expect(large?.properties.headers?.['body-encoding']).toBe('aes-256-gcm, claim-check')
    expect(large?.content.length).toBeLessThan(300)
    expect(small?.properties.headers?.['body-encoding']).toBe('aes-256-gcm')
    expect(small?.content.includes('green')).toBe(false)
    rmSync(directory, { recursive: true })
  })

  test('a body whose key is missing is a dead letter, and is handled when the key is there', async () => {
    await using place = await openVhost()
    const Store = command<{ pixels: string }>('photos.store')
    const [k1, k2] = [randomBytes(32), randomBytes(32)]
    await using sender = open('sender', place.url, {
      codecs: [encryption({ keys: { k1 }, current: 'k1' })],
    })
    const late = open('photos', place.url, {
      codecs: [encryption({ keys: { k2 }, current: 'k2' })],
    })
    late.handle(Store, () => {})
    await late.start()
    await sender.direct.send(Store, { pixels: 'red' })
    await using tool = rabbitmq({ url: place.url, logger: false })
    const box = tool.operations.deadLetters('photos')
    await expect.poll(() => box.list(), { timeout: 20_000 }).toHaveLength(1)
    await late.stop()
    const [letter] = await box.list()
    expect(letter).toMatchObject({ reason: 'undecodable', error: expect.stringContaining("'k1'") })
    const handled = Promise.withResolvers<unknown>()
    await using ready = open('photos', place.url, {
      codecs: [encryption({ keys: { k1, k2 }, current: 'k2' })],
    })
    ready.handle(Store, (body) => handled.resolve(body))
    await ready.start()
    expect(await box.retry([letter!.key])).toBe(1)
    expect(await handled.promise).toEqual({ pixels: 'red' })
  })
})
