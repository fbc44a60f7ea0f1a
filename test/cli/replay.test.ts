import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type Bench, type Kind, message, openBench, kindsHere } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()
const DAY_MS = 86_400_000

async function empty(bench: Bench): Promise<void> {
  while ((await bench.store.admin.stats()).pending > 0) await sleep(50)
}

/**
 * A bench whose relay keeps what it has published, with these messages published and taken from the
 * queues.
 */
async function published(
  kind: Kind,
  ...messages: readonly ReturnType<typeof message>[]
): Promise<Bench> {
  const bench = await openBench(kind, { keepSentMs: DAY_MS })
  await bench.declare('orders')
  await bench.declare('billing')
  const relay = bench.project.start(['relay', '--no-http'])
  await bench.send(...messages)
  await empty(bench)
  expect((await relay.signal('SIGTERM')).code).toBe(0)
  await bench.received('orders')
  await bench.received('billing')
  return bench
}

describe.each(kinds)('mersal replay on %s', { timeout: 240_000 }, (kind) => {
  test('publishes again what the filter lets through, with the same ids, and says before how many', async () => {
    await using bench = await published(
      kind,
      message('a', { partitionKey: 'k' }),
      message('b', { queue: 'billing', partitionKey: 'k' }),
      message('c', { type: 'orders.paid' }),
      message('d', { partitionKey: 'k' }),
    )
    const { mersal, start } = bench.project
    expect(await mersal(['replay', '--key', 'nobody'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^mersal: no kept message matches; confirmed messages are kept only with 'keepSentMs'/,
      ) as string,
    })
    expect(
      await mersal(['replay', '--key', 'k', '--destination', 'default/queue/orders']),
    ).toMatchObject({
      code: 2,
      stderr: 'mersal: this would replay 2 of 2 kept messages that match; add --yes to do it\n',
    })
    expect((await bench.store.admin.stats()).pending).toBe(0)
    expect(
      await mersal(['replay', '--key', 'k', '--destination', 'default/queue/orders', '--yes']),
    ).toMatchObject({ code: 0 })
    expect((await bench.store.operations!.overview!({ keys: 0 })).pending).toBe(2)
    const relay = start(['relay', '--no-http'])
    await empty(bench)
    await relay.signal('SIGTERM')
    expect(await bench.received('orders')).toEqual(['a', 'd'])
    expect(await bench.received('billing')).toEqual([])
    // They are kept again, once.
    expect(await mersal(['replay', '--all'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('4 of 4') as string,
    })
  })

  test('filters by type, by time and by id', async () => {
    const one = message('a')
    await using bench = await published(kind, one, message('b', { type: 'orders.paid' }))
    const { mersal } = bench.project
    const found = async (...filter: readonly string[]): Promise<string> =>
      /replay (\d+) of/.exec((await mersal(['replay', ...filter])).stderr)![1]!
    expect(await found('--type', 'orders.paid')).toBe('1')
    expect(await found('--id', one.id)).toBe('1')
    expect(await found('--since', '1h')).toBe('2')
    expect(await found('--until', '1h')).toBe('0')
    expect(await found('--since', '2020-01-01', '--until', '2030-01-01T00:00Z')).toBe('2')
    expect(await found('--all', '--limit', '1')).toBe('1')
  })

  test('keeps the order of a key, and keeps it behind what is open', async () => {
    await using bench = await published(
      kind,
      ...Array.from({ length: 40 }, (_, n) =>
        message(`${n % 2}:${n}`, { partitionKey: `${n % 2}` }),
      ),
    )
    await bench.send(message('0:open', { partitionKey: '0' }))
    expect(await bench.project.mersal(['replay', '--all', '--yes', '--json'])).toMatchObject({
      code: 0,
      stdout: '{"replayed":40,"found":40}\n',
    })
    const relay = bench.project.start(['relay', '--no-http'])
    await empty(bench)
    await relay.signal('SIGTERM')
    const received = await bench.received('orders')
    const ofKey = (key: number): string[] => received.filter((body) => body.startsWith(`${key}:`))
    expect(ofKey(0)).toEqual(['0:open', ...Array.from({ length: 20 }, (_, n) => `0:${n * 2}`)])
    expect(ofKey(1)).toEqual(Array.from({ length: 20 }, (_, n) => `1:${n * 2 + 1}`))
  })

  test('gives new ids when asked for', async () => {
    const one = message('a')
    await using bench = await published(kind, one)
    await bench.project.mersal(['replay', '--all', '--new-ids', '--yes'])
    const [row] = await bench.store.outbox.claim({ limit: 10, claimMs: 1000, token: 'look' })
    expect(row?.message).toMatchObject({ type: one.type, headers: one.headers })
    expect(Buffer.from(row!.message.body).toString()).toBe('a')
    expect(row?.message.id).toMatch(/^[0-9a-f-]{14}7/)
    expect(row?.message.id).not.toBe(one.id)
  })

  test('wants a filter, and one that makes sense', async () => {
    await using bench = await openBench(kind)
    const { mersal } = bench.project
    expect(await mersal(['replay', '--yes'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('say which') as string,
    })
    expect(await mersal(['replay', '--since', 'yesterday'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('expected an age') as string,
    })
    expect(await mersal(['replay', '--since', '1h', '--until', '2h'])).toMatchObject({ code: 2 })
    expect(await mersal(['replay', '--id', 'x'])).toMatchObject({ code: 2 })
  })
})
