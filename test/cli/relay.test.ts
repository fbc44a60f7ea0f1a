import { describe, expect, test } from 'vitest'
import { serverAnswers } from '../postgres/database.ts'
import type { Running } from './project.ts'
import { type Kind, message, openBench } from './stores.ts'

const kinds: readonly Kind[] = (await serverAnswers()) ? ['sqlite', 'postgres'] : ['sqlite']

async function addressOf(relay: Running): Promise<string> {
  return (await relay.says(/(http:\/\/[\d.:]+)\/metrics/))[1]!
}

async function get(url: string): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(url)
  return { status: response.status, text: await response.text() }
}

/** Asks again until it is so. */
async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 50))
}

describe.each(kinds)('mersal relay on %s', { timeout: 120_000 }, (kind) => {
  test('publishes what is there and what comes, tells so, and stops on SIGTERM with everything settled', async () => {
    await using bench = await openBench(kind)
    await bench.declare('orders')
    await bench.send(message('a'), message('b'))
    const relay = bench.project.start(['relay', '--port', '0'])
    const address = await addressOf(relay)
    await bench.send(message('c'))
    await until(async () => (await bench.store.admin.stats()).pending === 0)
    expect(await get(`${address}/healthz`)).toMatchObject({ status: 200 })
    expect(await get(`${address}/readyz`)).toEqual({ status: 200, text: 'ready\n' })
    expect((await get(`${address}/other`)).status).toBe(404)
    expect((await fetch(`${address}/metrics`, { method: 'POST' })).status).toBe(405)
    const { text } = await get(`${address}/metrics`)
    expect(text).toContain('mersal_relay_published_total{destination="default/queue/orders",outcome="confirmed"} 3')
    expect(text).toContain('mersal_relay_lost_claims_total 0')
    expect(text).toMatch(/^mersal_relay_claims_total [1-9]/m)
    expect(text).toContain('mersal_relay_settled_total 3')
    expect(text).toContain('mersal_outbox_pending ')
    const { code, stdout } = await relay.signal('SIGTERM')
    expect(code).toBe(0)
    expect(stdout).toContain('everything was settled')
    expect((await bench.received('orders')).sort()).toEqual(['a', 'b', 'c'])
  })

  test('is two relays on one outbox that publish every message once', async () => {
    await using bench = await openBench(kind, { further: 'relay: { batchSize: 20 },' })
    await bench.declare('orders')
    const relays = [bench.project.start(['relay', '--port', '0']), bench.project.start(['relay', '--port', '0'])]
    await Promise.all(relays.map(addressOf))
    const bodies = Array.from({ length: 300 }, (_, n) => `${n % 7}:${n}`)
    for (let start = 0; start < bodies.length; start += 30) {
      await bench.send(...bodies.slice(start, start + 30).map((body) => message(body, { partitionKey: body.split(':')[0]! })))
    }
    await until(async () => (await bench.store.admin.stats()).pending === 0)
    expect((await Promise.all(relays.map((relay) => relay.signal('SIGTERM')))).map(({ code }) => code)).toEqual([0, 0])
    const received = await bench.received('orders')
    expect(received.toSorted()).toEqual(bodies.toSorted())
    for (let key = 0; key < 7; key++) {
      const ofKey = (list: readonly string[]): string[] => list.filter((body) => body.startsWith(`${key}:`))
      expect(ofKey(received)).toEqual(ofKey(bodies))
    }
  })

  test('tells of a broker that refuses: dead letters by reason, and the state of the outbox', async () => {
    await using bench = await openBench(kind, { further: 'relay: { maxAttempts: 1 },' })
    await bench.send(message('a', { queue: 'nobody' }))
    const relay = bench.project.start(['relay', '--port', '0'])
    const address = await addressOf(relay)
    await until(async () =>
      (await get(`${address}/metrics`)).text.includes('mersal_relay_dead_total{destination="default/queue/nobody",reason="unroutable"} 1'),
    )
    const { code, stderr } = await relay.signal('SIGTERM')
    expect(code).toBe(0)
    for (const line of stderr.trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ time: expect.any(String) as string })
  })
})

describe('mersal relay', { timeout: 120_000 }, () => {
  test('listens nowhere with --no-http, and needs no port', async () => {
    await using bench = await openBench('sqlite')
    const relay = bench.project.start(['relay', '--no-http'])
    await relay.says(/relay 'relay' runs: sqlite to default \(sqlite\)/)
    const { code, stdout } = await relay.signal('SIGINT')
    expect(code).toBe(0)
    expect(stdout).not.toContain('http')
  })

  test('fails when the port that it was given is taken', async () => {
    await using bench = await openBench('sqlite')
    const first = bench.project.start(['relay', '--port', '0'])
    const port = (await addressOf(first)).split(':').at(-1)!
    expect(await bench.project.mersal(['relay', '--port', port])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('EADDRINUSE') as string,
    })
  })

  test('says that it needs a broker', async () => {
    await using bench = await openBench('sqlite')
    bench.project.write('mersal.config.ts', (await import('./project.ts')).sqliteConfig().replace(/transport: .*/, ''))
    expect(await bench.project.mersal(['relay'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('a relay needs a broker') as string,
    })
  })
})
