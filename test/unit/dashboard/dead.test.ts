import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Mersal, command, event } from '../../../src/index.ts'
import { memoryNetwork, memoryStore } from '../../../src/memory.ts'
import { dashboard } from '../../../src/dashboard/index.ts'
import { client, kill, message, openMemory, save, TOKEN } from './support.ts'

const allow = ['retry', 'discard'] as const

test('a long list is read page by page, each once, and searched in bounded stretches', async () => {
  const { store, get } = await openMemory()
  const rows = Array.from({ length: 6000 }, (_, index) =>
    message(`${index}`, {
      type: `type-${index % 3}`,
      headers: { 'correlation-id': `way-${index}` },
    }),
  )
  for (let start = 0; start < rows.length; start += 1000)
    await save(store, ...rows.slice(start, start + 1000))
  await kill(store)
  const seen = new Set<string>()
  let pages = 0
  for (let next: string | null = ''; next !== null; pages++) {
    const { body } = await get(`api/dead?source=main&limit=200&after=${next}`)
    for (const { key } of body.letters) seen.add(key)
    next = body.next
  }
  expect(seen.size).toBe(6000)
  expect(pages).toBe(31)
  const one = await get('api/dead?source=main&text=WAY-4711')
  expect(one.body).toMatchObject({ letters: [{ correlationId: 'way-4711' }] })
  // The first call looks at a part only, and says where to go on.
  expect(one.body.looked).toBeLessThanOrEqual(5000)
  const rest = await get(`api/dead?source=main&text=WAY-4711&after=${one.body.next}`)
  expect(rest.body).toMatchObject({ letters: [], next: null })
  const typed = await get('api/dead?source=main&type=type-1&limit=5')
  expect(typed.body.letters).toHaveLength(5)
  expect(typed.body.looked).toBeLessThan(20)
})

test('many letters are retried or discarded in stretches, only those that were meant', async () => {
  const { store, get, post } = await openMemory({ allow })
  const rows = Array.from({ length: 900 }, (_, index) =>
    message(`${index}`, { type: `t${index % 3}` }),
  )
  await save(store, ...rows)
  await kill(store)
  const all = async (path: string, more: object) => {
    let changed = 0
    for (let after: string | null = ''; after !== null; ) {
      const { body } = await post(path, { source: 'main', all: true, after, most: 200, ...more })
      changed += body.changed
      after = body.next
    }
    return changed
  }
  expect(await all('api/dead/retry', { type: 't1' })).toBe(300)
  expect(await store.admin.stats()).toMatchObject({ pending: 300, dead: 600 })
  expect(await all('api/dead/discard', { text: 'T2' })).toBe(300)
  const left = await get('api/dead?source=main&limit=200')
  expect(new Set(left.body.letters.map(({ type }: { type: string }) => type))).toEqual(
    new Set(['t0']),
  )
  const keys = left.body.letters.slice(0, 2).map(({ key }: { key: string }) => key)
  const named = await post('api/dead/retry', { source: 'main', keys: [...keys, 'no such'] })
  expect(named.body).toMatchObject({ changed: 2, asked: 3 })
  const gone = await get(`api/dead/letter?source=main&key=${keys[0]}`)
  expect(gone.body).toMatchObject({ status: 404, code: 'no-letter' })
})

test.each([
  ['GET', 'api/dead', 'source'],
  ['GET', 'api/dead?source=other', 'no source'],
  ['GET', 'api/dead?source=main&sourc=x', "'sourc'"],
  ['GET', 'api/dead?source=main&source=main', 'twice'],
  ['GET', 'api/dead?source=main&limit=201', "'limit'"],
  ['GET', 'api/dead?source=main&limit=-1', "'limit'"],
  ['GET', `api/dead?source=main&text=${'x'.repeat(201)}`, "'text'"],
  ['GET', 'api/dead?source=main&text=%00', "'text'"],
  ['GET', 'api/dead?source=main&queue=orders', 'no such transport'],
  ['GET', 'api/sagas?source=main&after=x', "'after'"],
  ['POST', 'api/dead/retry', 'no JSON', '{'],
  ['POST', 'api/dead/retry', 'no object', '[]'],
  ['POST', 'api/dead/retry', "'keys'", '{"source":"main"}'],
  ['POST', 'api/dead/retry', "'keys'", '{"source":"main","keys":"1"}'],
  ['POST', 'api/dead/retry', "'keys'", '{"source":"main","keys":[1]}'],
  ['POST', 'api/dead/retry', "'all'", '{"source":"main","keys":["1"],"all":true}'],
  ['POST', 'api/pauses', 'one of', '{"source":"main","kind":"all","name":"x"}'],
  ['POST', 'api/pauses', 'A destination is', '{"source":"main","kind":"destination","name":"x"}'],
  [
    'POST',
    'api/pauses',
    'partition key',
    '{"source":"main","kind":"key","name":"\\ud800a"}'.replace('\\ud800', '\\u0001'),
  ],
])('%s %s is refused, saying %s', async (method, path, words, body?: string) => {
  const { ask } = await openMemory({ allow: ['retry', 'pause'] })
  const headers = { 'content-type': 'application/json' }
  const answer = await ask(method, path, { headers, ...(body === undefined ? {} : { body }) })
  expect([400, 404]).toContain(answer.status)
  expect(answer.body.title).toContain(words)
})

const Register = command<{ name: string }>('students.register')
const Registered = event<{ name: string }>('students.registered')

test('the way of a message leads over two apps to a dead letter of a consumer', async () => {
  const network = memoryNetwork()
  const made = (name: string, routes = {}) =>
    new Mersal({
      name,
      store: memoryStore(),
      transport: network.transport(),
      routes,
      logger: false,
    })
  const registrar = made('registrar')
  const finance = made('finance', { 'students.register': 'registrar' })
  registrar.handle(
    Register,
    async ({ name }, { publish }) => void (await publish(Registered, { name })),
  )
  finance.handle(Registered, () => Promise.reject(new Error('no bill today')), {
    retry: { maxAttempts: 1 },
  })
  using ui = dashboard({ apps: [registrar, finance], token: TOKEN })
  const { get } = client(ui)
  expect((await get('api/overview')).body.sources[0].trouble.text).toContain('not started yet')
  await Promise.all([registrar.start(), finance.start()])
  let id = ''
  await finance.transaction(
    async (_tx, { send }) => void (id = await send(Register, { name: 'Ada' })),
  )

  type Way = { messages: { id: string; type: string; state: string; handledBy: string[] }[] }
  let way: Way
  do {
    await turn()
    way = (await get(`api/way?id=${id}`)).body as Way
  } while (!JSON.stringify(way).includes('"reason":"handler-failed"'))
  const [command, happened] = way.messages as unknown as [
    Record<string, unknown>,
    Record<string, unknown> & { id: string },
  ]
  expect(command).toMatchObject({
    id,
    type: 'students.register',
    causationId: null,
    state: 'handled',
    handledBy: ['registrar'],
    letters: [],
  })
  expect((command['steps'] as { what: string }[]).map(({ what }) => what)).toEqual([
    'sent',
    'published',
    'received',
  ])
  expect(happened).toMatchObject({
    type: 'students.registered',
    causationId: id,
    letters: [{ source: 'finance', queue: 'finance', reason: 'handler-failed' }],
  })
  // From the other end it is the same way.
  expect((await get(`api/way?id=${happened.id}`)).body).toMatchObject({ correlationId: id })
  const nothing = await get('api/way?id=unheard-of')
  expect(nothing.body).toMatchObject({ messages: [{ id: 'unheard-of', type: null, steps: [] }] })
  let sources
  do {
    // The relay has its turn.
    await turn()
    sources = (await get('api/overview')).body.sources
  } while (sources[1].health.status !== 'ok')
  expect(sources[1]).toMatchObject({
    health: { status: 'ok' },
    queues: [{ queue: 'finance', dead: 1 }],
  })
  const letters = (await get('api/dead?source=finance&queue=finance')).body.letters
  expect(letters).toMatchObject([{ direction: 'incoming', reason: 'handler-failed' }])
  await Promise.all([registrar.stop(), finance.stop()])
})

test('the description names every call, and what each needs', async () => {
  const { get } = await openMemory()
  const { body } = await get('api/openapi.json')
  expect(body.openapi).toBe('3.1.0')
  expect(Object.keys(body.paths)).toEqual([
    '/api/me',
    '/api/overview',
    '/api/dead',
    '/api/dead/letter',
    '/api/dead/retry',
    '/api/dead/discard',
    '/api/refused',
    '/api/pauses',
    '/api/pauses/resume',
    '/api/sagas',
    '/api/sagas/instance',
    '/api/way',
    '/api/live',
  ])
  const rights = Object.values(body.paths as Record<string, Record<string, object>>)
    .flatMap((methods) => Object.entries(methods))
    .map(([method, operation]) => `${method} ${(operation as { 'x-right'?: string })['x-right']}`)
  for (const one of rights.filter((text) => text.startsWith('post')))
    expect(one).toMatch(/post (?:retry|discard|pause)/)
})
