import { describe, expect, test } from 'vitest'
import type { Delivery, Disposition } from '../../src/index.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'
import { sourceUrl, sqliteConfig } from './project.ts'
import { type Bench, type Kind, message, openBench, kindsHere } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()

async function letters(bench: Bench, ...further: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout } = await bench.project.mersal(['dead', 'list', '--json', ...further])
  expect(code).toBe(0)
  return JSON.parse(stdout) as Record<string, unknown>[]
}

describe.each(kinds)('mersal dead on %s', { timeout: 240_000 }, (kind) => {
  test('lists, filters and shows dead letters', async () => {
    await using bench = await openBench(kind)
    await bench.send(
      message('a', { type: 'orders.placed' }),
      message('b', { type: 'orders.paid', queue: 'billing', partitionKey: 'k' }),
    )
    await bench.kill({ onDead: 'block-key' })
    expect((await letters(bench)).map((letter) => letter['type'])).toEqual([
      'orders.placed',
      'orders.paid',
    ])
    expect(await letters(bench, '--type', 'orders.paid')).toMatchObject([
      { partitionKey: 'k', blocksKey: true, place: 'default/queue/billing', bodyBytes: 1 },
    ])
    expect(await letters(bench, '--destination', 'default/queue/orders')).toHaveLength(1)
    expect(await letters(bench, '--key', 'k', '--reason', 'unroutable')).toEqual([])
    expect(await letters(bench, '--limit', '1')).toHaveLength(1)
    const [first] = await letters(bench)
    expect(await letters(bench, '--after', first!['key'] as string)).toHaveLength(1)
    const shown = await bench.project.mersal(['dead', 'show', first!['key'] as string, '--body'])
    expect(shown.stdout).toMatch(/reason +refused/)
    expect(shown.stdout).toMatch(/\na\n$/)
    const hidden = await bench.project.mersal(['dead', 'show', first!['key'] as string])
    expect(hidden.stdout).toContain('1 bytes (--body shows them)')
    const json = await bench.project.mersal([
      'dead',
      'show',
      first!['key'] as string,
      '--json',
      '--body',
    ])
    expect(JSON.parse(json.stdout)).toMatchObject({
      bodyBase64: Buffer.from('a').toString('base64'),
    })
  })

  test('retries what it is told, and a retried message can be claimed again', async () => {
    await using bench = await openBench(kind)
    await bench.send(message('a'), message('b'))
    await bench.kill()
    const [first] = await letters(bench)
    expect(await bench.project.mersal(['dead', 'retry', first!['key'] as string])).toMatchObject({
      code: 0,
      stdout: 'retried 1 of 1\n',
    })
    expect(await letters(bench)).toHaveLength(1)
    expect(await bench.store.admin.stats()).toMatchObject({ pending: 1, dead: 1 })
  })

  test('changes nothing of many without --yes, and says how many it would', async () => {
    await using bench = await openBench(kind)
    await bench.send(message('a'), message('b', { type: 'other' }))
    await bench.kill()
    const keys = (await letters(bench)).map((letter) => letter['key'] as string)
    const asked = [
      await bench.project.mersal(['dead', 'retry', '--all']),
      await bench.project.mersal(['dead', 'discard', ...keys]),
    ]
    for (const { code, stderr } of asked) {
      expect(code).toBe(2)
      expect(stderr).toMatch(/would (retry|discard) 2 dead letters; add --yes/)
    }
    expect(await letters(bench)).toHaveLength(2)
    expect(
      await bench.project.mersal(['dead', 'retry', '--all', '--type', 'other', '--yes']),
    ).toMatchObject({
      code: 0,
      stdout: 'retried 1 of 1\n',
    })
    expect(
      await bench.project.mersal(['dead', 'discard', '--all', '--yes', '--json']),
    ).toMatchObject({
      code: 0,
      stdout: '{"discarded":1,"asked":1}\n',
    })
    expect(await letters(bench)).toEqual([])
  })

  test('works through more than one page', async () => {
    await using bench = await openBench(kind)
    await bench.send(...Array.from({ length: 250 }, (_, n) => message(String(n))))
    await bench.kill()
    expect(await bench.project.mersal(['dead', 'retry', '--all', '--yes'])).toMatchObject({
      code: 0,
      stdout: 'retried 250 of 250\n',
    })
    expect(await bench.store.admin.stats()).toMatchObject({ pending: 250, dead: 0 })
  })

  test('fails for a dead letter that is not there', async () => {
    await using bench = await openBench(kind)
    expect(await bench.project.mersal(['dead', 'show', '12345'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^mersal: there is no dead letter '12345' among the outgoing messages; --queue NAME .*\n$/,
      ) as string,
    })
    expect(await bench.project.mersal(['dead', 'retry', '12345'])).toMatchObject({
      code: 1,
      stdout: 'retried 0 of 1\n',
      stderr: expect.stringMatching(
        /^mersal: 1 not found among the outgoing messages; --queue NAME .*\n$/,
      ) as string,
    })
  })
})

describe('mersal dead --queue', { timeout: 240_000 }, () => {
  test('lists and retries what consumers have given up', async () => {
    await using bench = await openBench('sqlite')
    await bench.declare('orders')
    await bench.declare('billing')
    {
      await using broker = sqliteQueue({ path: bench.project.file('queue.db') })
      await Promise.all(broker.publish([message('a'), message('b', { queue: 'billing' })]))
      const given = Promise.withResolvers<void>()
      let count = 0
      const reject = async (): Promise<{ kind: 'reject'; reason: 'rejected'; error: Error }> => {
        if (++count === 2) given.resolve()
        return { kind: 'reject', reason: 'rejected', error: new Error('unwanted') }
      }
      await using one = await broker.consume({ queue: 'orders', concurrency: 1 }, reject)
      await using two = await broker.consume({ queue: 'billing', concurrency: 1 }, reject)
      await given.promise
      void [one, two]
    }
    expect(await letters(bench, '--queue', 'orders')).toMatchObject([
      { direction: 'incoming', place: 'orders', reason: 'rejected' },
    ])
    expect(
      await bench.project.mersal(['dead', 'retry', '--all', '--queue', 'orders', '--yes']),
    ).toMatchObject({
      code: 0,
      stdout: 'retried 1 of 1\n',
    })
    expect(await bench.received('orders')).toEqual(['a'])
    expect(await letters(bench, '--queue', 'billing')).toHaveLength(1)
  })
})

describe.runIf(await rabbitIsHere())(
  'mersal dead --queue on RabbitMQ',
  { timeout: 240_000 },
  () => {
    test('lists, shows, retries and discards what consumers have given up', async () => {
      await using place = await openVhost()
      await using bench = await openBench('sqlite')
      bench.project.write(
        'mersal.config.ts',
        `import { rabbitmq } from '${sourceUrl('rabbitmq.ts')}'\n${sqliteConfig().replace(/transport: .*/, `transport: rabbitmq({ url: '${place.url}', newQueuePauseMs: 0 }),`)}`,
      )
      await using broker = rabbitmq({ url: place.url, newQueuePauseMs: 0 })
      await broker.subscribe('orders', [])
      const got: string[] = []
      const reject = async (delivery: Delivery): Promise<Disposition> => {
        got.push(Buffer.from(delivery.message.body).toString())
        return await Promise.resolve({
          kind: 'reject',
          reason: 'rejected',
          error: new Error('unwanted'),
        })
      }
      const consume = async (bodies: number): Promise<void> => {
        await using consumer = await broker.consume({ queue: 'orders', concurrency: 1 }, reject)
        while (got.length < bodies) await new Promise((resolve) => setTimeout(resolve, 20))
        void consumer
      }
      await Promise.all(broker.publish([message('a'), message('b')]))
      await consume(2)
      const found = await letters(bench, '--queue', 'orders')
      expect(found).toMatchObject([
        { direction: 'incoming', place: 'orders', reason: 'rejected' },
        { direction: 'incoming', place: 'orders', reason: 'rejected' },
      ])
      const [first, second] = found.map((letter) => letter['key'] as string)
      const shown = await bench.project.mersal([
        'dead',
        'show',
        first!,
        '--queue',
        'orders',
        '--body',
      ])
      expect(shown).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/error +Error: unwanted/) as string,
      })
      expect(
        await bench.project.mersal(['dead', 'discard', second!, '--queue', 'orders', '--yes']),
      ).toMatchObject({ code: 0 })
      expect(
        await bench.project.mersal(['dead', 'retry', first!, '--queue', 'orders']),
      ).toMatchObject({
        code: 0,
        stdout: 'retried 1 of 1\n',
      })
      await consume(3)
      expect(got).toEqual(['a', 'b', 'a'])
    })
  },
)
