import { once } from 'node:events'
import { Agent, createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { createLive } from '../../../src/dashboard/live/live.ts'
import { memoryNetwork, memoryStore } from '../../../src/memory.ts'
import { client, message, openMemory, save, TOKEN } from './support.ts'

/** Reads events of a stream until one is as wanted. */
async function until(stream: ReadableStream<Uint8Array>, wanted: (text: string) => boolean) {
  const reader = stream.getReader()
  let text = ''
  while (!wanted(text)) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`the stream has ended: ${text}`)
    text += Buffer.from(value).toString()
  }
  return { text, leave: () => reader.cancel() }
}

test('open pages are told what changes, and only so many of them', async () => {
  const { store, ui, get } = await openMemory({ liveClients: 2 })
  const open = () =>
    ui(new Request('http://here.test/api/live', { headers: { authorization: `Bearer ${TOKEN}` } }))
  const [first, second] = [await open(), await open()]
  expect(first.headers.get('content-type')).toBe('text/event-stream')
  const third = await get('api/live')
  expect(third.status).toBe(503)
  expect(third.body.code).toBe('enough-pages')
  const told = await until(first.body!, (text) => text.includes('"pending":0'))
  await save(store, message('a'))
  expect(told.text).toMatch(/^event: overview\ndata: \{.*\}\n\n$/)
  const later = await until(second.body!, (text) => text.includes('"pending":1'))
  await later.leave()
  await told.leave()
  const again = await open()
  expect(again.status).toBe(200)
  ui[Symbol.dispose]()
  const all = await again.text()
  expect(all === '' || all.endsWith('\n\n')).toBe(true)
})

test('an open page holds up no server that closes', { timeout: 15_000 }, async () => {
  const { ui } = await openMemory()
  const server = createServer((request, response) => void ui.node(request, response))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true })
  const headers = { authorization: `Bearer ${TOKEN}` }
  const [page] = (await once(
    get(`http://127.0.0.1:${port}/api/live`, { agent, headers }),
    'response',
  )) as [IncomingMessage]
  const told = text(page)
  await once(page, 'data')
  await new Promise((resolve) => server.close(resolve))
  expect(await told).toMatch(/\n\n$/)
  agent.destroy()
})

test('nobody is asked while no page is open, and a page that reads nothing costs no memory', async () => {
  let looks = 0
  const live = createLive(() => Promise.resolve(String(++looks)), 1)
  const stream = live.open()!
  await until(stream, (text) => text.includes('data: 1')).then(({ leave }) => leave())
  expect(live.clients).toBe(0)
  const seen = looks
  await new Promise((resolve) => setTimeout(resolve, 2300))
  expect(looks).toBe(seen)
})

test('a store that is away says so at once, beside another one, and recovers by itself', async () => {
  const good = memoryStore()
  const bad = memoryStore()
  await Promise.all([good.open(), bad.open()])
  let away: 'no' | 'fails' | 'hangs' = 'no'
  const overview: NonNullable<NonNullable<typeof bad.operations>['overview']> = (options) =>
    away === 'fails'
      ? Promise.reject(Object.assign(new Error('gone'), { code: 'ECONNREFUSED' }))
      : away === 'hangs'
        ? new Promise(() => {})
        : bad.operations!.overview!(options)
  const operations = { ...bad.operations, overview }
  const { ui } = await openMemory({ stores: { good, bad: { ...bad, operations } } })
  const { get } = client(ui)
  const look = async () => (await get('api/overview')).body.sources
  const eventually = async (wanted: (source: { trouble: { text: string } | null }) => boolean) => {
    for (;;) {
      const [one, two] = await look()
      expect(one.trouble).toBeNull()
      if (wanted(two)) return two
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  expect((await look())[1].counts.pending).toBe(0)
  away = 'fails'
  const failed = await eventually(({ trouble }) => trouble !== null)
  expect(failed.trouble.text).toContain('ECONNREFUSED')
  // What was seen before is still there, with its time.
  expect(failed).toMatchObject({ counts: { pending: 0 }, seenAt: expect.any(Number) as number })
  away = 'no'
  await eventually(({ trouble }) => trouble === null)
  away = 'hangs'
  const began = performance.now()
  await eventually(({ trouble }) => trouble?.text === 'It has not answered yet.')
  expect(performance.now() - began).toBeLessThan(10_000)
})

test('a broker that does not answer makes the figures of the database neither late nor old', async () => {
  const transport = memoryNetwork().transport()
  const operations = { ...transport.operations, queues: () => new Promise<never>(() => {}) }
  const { store, get } = await openMemory({ transport: { ...transport, operations } })
  const look = async () => (await get('api/overview')).body.sources[0]
  const began = performance.now()
  expect(await look()).toMatchObject({ counts: { pending: 0 }, trouble: null })
  await save(store, message('a'))
  while ((await look()).counts.pending !== 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
  // As long as one look at the queues would take.
  expect(performance.now() - began).toBeLessThan(5000)
})
