import { describe, expect, test } from 'vitest'
import { dashboard, type DashboardOptions } from '../../../src/dashboard/index.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { memoryStore } from '../../../src/memory.ts'
import { client, kill, message, openMemory, ORIGIN, save, TOKEN } from './support.ts'

const base = (): DashboardOptions => ({ stores: { main: memoryStore() }, token: TOKEN })

describe('a dashboard', () => {
  test.each<readonly [string, object, string]>([
    ['without access and token', { token: undefined }, 'dashboard().access'],
    ['with both', { access: () => true }, 'dashboard().token'],
    ['with a short token', { token: 'short' }, 'dashboard().token'],
    ['with a token of other characters', { token: `${TOKEN} ä` }, 'dashboard().token'],
    ['with no store and no app', { stores: undefined }, 'dashboard().apps'],
    ['with apps that are none', { stores: undefined, apps: [{}] }, 'dashboard().apps'],
    ['with apps and stores', { apps: [] }, 'dashboard().apps'],
    ['with an unknown right', { allow: ['everything'] }, 'dashboard().allow'],
    ['with an unknown option', { tokn: TOKEN }, 'dashboard().tokn'],
    ['below a path with dots', { path: '/a/../b' }, 'dashboard().path'],
    ['below a path with hidden dots', { path: '/a/%2e%2e/b' }, 'dashboard().path'],
    ['below a path that is not decoded', { path: '/a%zz' }, 'dashboard().path'],
    ['with a logger that is none', { logger: {} }, 'dashboard().logger'],
    ['with an origin that has a path', { origins: ['https://a.test/b'] }, 'dashboard().origins'],
  ])('%s is refused when it is made', (_, change, field) => {
    expect(() => dashboard({ ...base(), ...change })).toThrow(
      expect.objectContaining({
        code: 'MERSAL_INVALID_OPTIONS',
        details: { field },
      }) as Error,
    )
  })

  test.each([
    ['without a token', undefined],
    ['with a wrong token', 'Bearer another-token-of-them'],
    ['with a part of the token', `Bearer ${TOKEN.slice(0, -1)}`],
    ['with more than the token', `Bearer ${TOKEN}x`],
    ['with the token in another scheme', `Basic ${TOKEN}`],
  ])('tells nothing %s, also not what there is', async (_, authorization) => {
    const { ui } = await openMemory({ allow: ['retry'] })
    const { get, post } = client(ui, {
      headers: authorization === undefined ? {} : { authorization },
    })
    for (const path of ['api/me', 'api/overview', 'api/live', 'api/openapi.json', 'api/nothing']) {
      const { status, headers, body } = await get(path)
      expect(status).toBe(401)
      expect(headers.get('www-authenticate')).toMatch(/^Bearer/)
      expect(body).toEqual({ status: 401, code: 'no-token', title: expect.any(String) as string })
    }
    expect((await post('api/dead/retry', { source: 'main', keys: ['1'] })).status).toBe(401)
    expect((await get(`api/me?token=${TOKEN}`)).status).toBe(401)
  })

  test('asks access for the page and for each call, and gives at most what allow names', async () => {
    const asked: string[] = []
    const warned: object[] = []
    const { get, post } = await openMemory({
      logger: { ...silentLogger, warn: (fields) => void warned.push(fields) },
      allow: ['retry', 'bodies'],
      access(request) {
        const who = request.headers.get('x-user') ?? ''
        asked.push(who)
        if (who === 'broken') throw new Error('canary-s3cret')
        return { boss: true, guest: [], mean: ['discard', 'retry'] as const }[who] ?? false
      },
    })
    const as = (user: string) => ({ headers: { 'x-user': user } })
    expect((await get('api/me', as('boss'))).body.rights).toEqual(['retry', 'bodies'])
    expect((await get('api/me', as('guest'))).body.rights).toEqual([])
    expect((await get('api/me', as('mean'))).body.rights).toEqual(['retry'])
    expect((await get('', as('nobody'))).status).toBe(403)
    expect((await get('app.js', as('nobody'))).status).toBe(403)
    expect((await get('api/me', as('nobody'))).status).toBe(403)
    const broken = await get('api/me', as('broken'))
    expect(broken.status).toBe(500)
    expect(broken.text).not.toContain('canary')
    expect(warned).toEqual([
      expect.objectContaining({
        problem: 'access-failed',
        error: expect.stringContaining('canary') as string,
      }),
    ])
    const own = { 'sec-fetch-site': 'same-origin' }
    const change = { source: 'main', keys: ['1'] }
    expect((await post('api/dead/retry', change, { ...own, 'x-user': 'guest' })).status).toBe(403)
    expect((await post('api/dead/discard', change, { ...own, 'x-user': 'mean' })).status).toBe(403)
    expect((await post('api/dead/retry', change, { ...own, 'x-user': 'mean' })).status).toBe(200)
    expect(asked).toHaveLength(10)
  })
})

describe('a change', () => {
  const allow = ['retry', 'discard', 'pause'] as const

  test('is made only by the page itself, or by a program with the token', async () => {
    const { store, ui } = await openMemory({ access: () => true, allow })
    const { get, post } = client(ui, { headers: {} })
    await save(store, message('a'), message('b'))
    await kill(store)
    const [letter] = (await get('api/dead?source=main')).body.letters
    const change = { source: 'main', keys: [letter.key] }
    const refused: readonly Record<string, string>[] = [
      {},
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'none' },
      { 'sec-fetch-site': 'cross-site', authorization: 'Bearer anything' },
      { origin: 'http://evil.test' },
      { origin: 'http://here.test.evil.test' },
      { origin: 'null' },
      { origin: 'not an origin', authorization: 'Bearer anything' },
    ]
    for (const headers of refused) {
      expect([headers, (await post('api/dead/discard', change, headers)).body.code]).toEqual([
        headers,
        'foreign-origin',
      ])
    }
    const form = { 'content-type': 'text/plain', 'sec-fetch-site': 'same-origin' }
    expect((await post('api/dead/discard', JSON.stringify(change), form)).status).toBe(415)
    expect(await store.admin.stats()).toMatchObject({ dead: 2 })
    const taken = await post('api/dead/discard', change, { origin: ORIGIN })
    expect(taken.body).toEqual({ changed: 1, asked: 1, next: null, looked: 1 })
    expect(await store.admin.stats()).toMatchObject({ dead: 1 })
  })

  test('is taken from origins that the operator has named', async () => {
    const { post } = await openMemory({
      access: () => true,
      allow,
      origins: ['https://admin.test'],
    })
    const pause = { source: 'main', kind: 'key', name: 'k' }
    const from = (origin: string) =>
      post('api/pauses', pause, { origin, 'sec-fetch-site': 'cross-site' })
    expect((await from('https://admin.test')).status).toBe(200)
    expect((await from('https://other.test')).status).toBe(403)
  })

  test('without the right to it changes nothing', async () => {
    const { store, get, post } = await openMemory()
    await save(store, message('a'))
    await kill(store)
    const [{ key }] = (await get('api/dead?source=main')).body.letters
    const tries = [
      ['api/dead/retry', { source: 'main', keys: [key] }],
      ['api/dead/retry', { source: 'main', all: true }],
      ['api/dead/discard', { source: 'main', all: true }],
      ['api/pauses', { source: 'main', kind: 'key', name: 'k' }],
      ['api/pauses/resume', { source: 'main', kind: 'key', name: 'k' }],
    ] as const
    for (const [path, body] of tries) {
      expect((await post(path, body)).body).toMatchObject({ status: 403, code: 'no-right' })
      expect((await get(path)).status, path).toBe(path === 'api/pauses' ? 400 : 405)
    }
    expect(await store.admin.stats()).toMatchObject({ pending: 0, dead: 1 })
    expect((await get('api/pauses?source=main')).body.pauses).toEqual([])
  })
})

describe('what an answer shows', () => {
  const nasty = '<img src=x onerror=alert(1)>\u001b[31mred\u001b[0m\u202Eevil\u2066'

  test('is safe to put on a page and on a terminal, and still says what there is', async () => {
    const { store, get } = await openMemory({ allow: ['bodies'] })
    const headers = { 'x-note': nasty }
    await save(store, message(nasty, { type: nasty, partitionKey: 'k\u202E', headers }))
    await kill(store, new Error(nasty))
    const { text, body, headers: given } = await get('api/dead?source=main')
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u)
    expect(given.get('x-content-type-options')).toBe('nosniff')
    expect(given.get('content-type')).toBe('application/json')
    expect(body.letters[0].type).toBe(nasty)
    const one = await get(`api/dead/letter?source=main&key=${body.letters[0].key}`)
    expect(one.text).not.toMatch(/[\p{Cc}\p{Cf}]/u)
    expect(one.body.body).toEqual({ text: nasty, base64: null, cut: false })
    expect(one.body.causes[0]).toContain('<img')
  })

  test('holds no body, no foreign header and no state unless that is allowed', async () => {
    const headers = { 'x-secret-header': 'canary-s3cret', 'correlation-id': 'c-1' }
    const shown = async (allow: DashboardOptions['allow']) => {
      const { store, get } = await openMemory(allow === undefined ? {} : { allow })
      await save(store, message('canary-s3cret', { headers }))
      await kill(store, new Error('at amqp://shop:canary-s3cret@host password=canary-s3cret'))
      const [{ key }] = (await get('api/dead?source=main')).body.letters
      const list = await get('api/dead?source=main')
      expect(list.text).not.toContain('canary')
      return await get(`api/dead/letter?source=main&key=${key}`)
    }
    const masked = await shown(undefined)
    expect(masked.text).not.toContain('canary')
    expect(masked.body).toMatchObject({ body: null, correlationId: 'c-1', bytes: 13 })
    expect(masked.body.headers).toContainEqual({ name: 'x-secret-header', value: null })
    expect(masked.body.headers).toContainEqual({ name: 'correlation-id', value: 'c-1' })
    const open = await shown(['bodies'])
    expect(open.body.body.text).toBe('canary-s3cret')
    expect(open.body.headers).toContainEqual({ name: 'x-secret-header', value: 'canary-s3cret' })
    expect(open.body.causes.join()).not.toContain('canary')
  })

  test('comes with headers that keep it where it is, whatever it is', async () => {
    const { get, post } = await openMemory()
    const answers = [
      await get('api/overview'),
      await get('api/nothing'),
      await get('nothing'),
      await get(`${ORIGIN}/%zz`),
      await post('api/dead/retry', '{'),
    ]
    for (const { headers } of answers) {
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toMatch(/unsafe|https?:|\*/)
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('access-control-allow-origin')).toBeNull()
    }
    expect(answers.map(({ status }) => status)).toEqual([200, 404, 404, 400, 403])
  })

  test('of a failure is its code alone', async () => {
    const store = memoryStore()
    const failing = {
      ...store,
      operations: {
        ...store.operations,
        overview: () => {
          const error = new Error('password of postgres://shop:canary-s3cret@db')
          return Promise.reject(Object.assign(error, { code: 'ECONNREFUSED' }))
        },
      },
    }
    const { get } = await openMemory({ stores: { main: failing } })
    const { status, text, body } = await get('api/overview')
    expect(status).toBe(200)
    expect(body.sources[0].trouble.text).toContain('ECONNREFUSED')
    expect(text).not.toContain('canary')
  })
})
