import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, test } from 'vitest'
import { dashboard } from '../../../src/dashboard/index.ts'
import { findLetter } from '../../../src/operate/letters.ts'
import { memoryStore } from '../../../src/memory.ts'
import { rejection } from '../support/errors.ts'
import { client, kill, message, openMemory, ORIGIN, save, TOKEN } from './support.ts'

test('a name of somebody else that is made to point here is refused where hosts are named', async () => {
  const access = () => true
  const { ui } = await openMemory({ access, hosts: ['here.test', '[::1]'], allow: ['pause'] })
  const { ask } = client(ui, { headers: { 'sec-fetch-site': 'same-origin' } })
  for (const [host, status] of [
    ['here.test', 200],
    ['HERE.test:9465', 200],
    ['[::1]:9465', 200],
    ['evil.test', 421],
    ['here.test.evil.test', 421],
    ['127.0.0.1', 421],
  ] as const) {
    expect([host, (await ask('GET', `http://${host}/api/me`)).status]).toEqual([host, status])
    expect((await ask('GET', `http://${host}/`)).status).toBe(status)
  }
  const pause = JSON.stringify({ source: 'main', kind: 'key', name: 'k' })
  const headers = { 'content-type': 'application/json', origin: 'http://evil.test' }
  const init = { body: pause, headers }
  expect((await ask('POST', 'http://evil.test/api/pauses', init)).body.code).toBe('foreign-host')
})

test.each([[[]], [['https://here.test']], [['here.test:80']], ['here.test'], [['']]])(
  'hosts of %j are refused',
  async (hosts) => {
    const make = () => dashboard({ stores: { a: memoryStore() }, token: TOKEN, hosts } as never)
    await rejection((async () => make())(), 'MERSAL_INVALID_OPTIONS')
  },
)

test('the page of somebody else cannot even ask', async () => {
  const { ui } = await openMemory({ access: () => true, origins: ['https://admin.test'] })
  const { get } = client(ui, { headers: {} })
  for (const [headers, status] of [
    [{}, 200],
    [{ 'sec-fetch-site': 'same-origin' }, 200],
    [{ 'sec-fetch-site': 'none' }, 200],
    [{ 'sec-fetch-site': 'cross-site', origin: 'https://admin.test' }, 200],
    [{ 'sec-fetch-site': 'same-site' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'cross-site', origin: 'https://evil.test' }, 403],
  ] as const) {
    for (const path of ['api/overview', 'api/openapi.json'])
      expect([headers, (await get(path, { headers })).status]).toEqual([headers, status])
  }
})

test('a body without a length is read no further than it may be large', async () => {
  const { ui } = await openMemory({ allow: ['pause'] })
  let given = 0
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      given += 65_536
      controller.enqueue(new Uint8Array(65_536).fill(0x20))
    },
  })
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  const init = { method: 'POST', headers, body, duplex: 'half' as const }
  const answer = await ui(new Request(`${ORIGIN}/api/pauses`, init))
  expect(answer.status).toBe(413)
  expect(given).toBeLessThan(1_300_000)
})

test('nothing of a body is waited for before somebody may come in', async () => {
  const { ui } = await openMemory({ allow: ['pause'] })
  const server = createServer((request, response) => void ui.node(request, response))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  try {
    // It promises a body and never sends it.
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const type = 'content-type: application/json\r\ncontent-length: 10'
    socket.write(`POST /api/pauses HTTP/1.1\r\nhost: here.test\r\n${type}\r\n\r\n`)
    const [part] = (await once(socket, 'data')) as [Buffer]
    expect(part.toString()).toMatch(/^HTTP\/1.1 401 /)
    socket.destroy()
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

test('one letter is found by its number without looking at those before it', async () => {
  const { store } = await openMemory()
  await save(store, ...Array.from({ length: 50 }, (_, n) => message(`${n}`)))
  await kill(store)
  const box = store.admin.deadLetters
  const asked: (string | undefined)[] = []
  const watched = {
    ...box,
    async list(options: Parameters<typeof box.list>[0]) {
      asked.push(options?.after)
      const dotted = (key: string) => (key === '40' ? '12.4' : key)
      const after = options?.after === '12.3' ? '39' : options?.after
      const found = await box.list({ ...options, ...(after === undefined ? {} : { after }) })
      return found.map((letter) => ({ ...letter, key: dotted(letter.key) }))
    },
  }
  expect(await findLetter(watched, '30')).toMatchObject({ key: '30' })
  expect(await findLetter(watched, '12.4')).toMatchObject({ key: '12.4' })
  expect(asked).toEqual(['29', '12.3'])
  let looked = 0
  expect(await findLetter(watched, 'none', () => ++looked > 20)).toBeUndefined()
  expect(looked).toBe(21)
})
