import { expect, test } from 'vitest'
import { description } from '../../../src/dashboard/api/routes.ts'
import { client, kill, message, openMemory, save, TOKEN } from './support.ts'

type Described = Record<
  string,
  Record<string, { readonly parameters?: readonly { readonly schema: { minimum?: number } }[] }>
>
const paths = (description as { readonly paths: Described }).paths

test('a wrong method is told which ones are right', async () => {
  const { ask } = await openMemory({ allow: ['retry', 'pause'] })
  for (const [method, path, allow] of [
    ['DELETE', 'api/pauses', 'GET, HEAD, POST'],
    ['PUT', 'api/me', 'GET, HEAD'],
    ['GET', 'api/dead/retry', 'POST'],
    ['POST', 'api/live', 'GET, HEAD'],
    ['POST', 'app.js', 'GET, HEAD'],
  ] as const) {
    const { status, headers } = await ask(method, path)
    expect([method, path, status, headers.get('allow')]).toEqual([method, path, 405, allow])
  }
})

test('a path has one name: a slash that is encoded is no slash', async () => {
  const { store, ask } = await openMemory({ allow: ['discard'] })
  await save(store, message('a'))
  await kill(store)
  const init = {
    body: '{"source":"main","all":true}',
    headers: { 'content-type': 'application/json' },
  }
  expect((await ask('POST', 'api/dead%2fdiscard', init)).status).toBe(404)
  expect((await ask('GET', 'api%2Fme')).status).toBe(404)
  expect(await store.admin.stats()).toMatchObject({ dead: 1 })
})

test('a limit is what the description says', async () => {
  const { store, get } = await openMemory()
  await save(store, message('a'))
  await kill(store)
  for (const path of ['dead', 'refused', 'sagas']) {
    const [limit] = paths[`/api/${path}`]!['get']!.parameters!.filter(
      (one) => (one as unknown as { name: string }).name === 'limit',
    )
    expect(limit?.schema.minimum).toBe(1)
    expect((await get(`api/${path}?source=main&limit=0`)).body.title).toContain('from 1 to 200')
  }
})

test.each(['__proto__', 'constructor', 'toString'])(
  'a field %s is refused by its name',
  async (name) => {
    const { get } = await openMemory()
    const { status, body } = await get(`api/dead?source=main&${name}=x`)
    expect([status, body.title]).toEqual([400, `There is no field '${name}'.`])
  },
)

test.each([String.raw`["\u0000","b","c"]`, String.raw`["a","\ud800","c"]`, '["a","b",1]'])(
  'a place in the sagas of %s is refused before a database is asked',
  async (after) => {
    const { get } = await openMemory()
    const { status, body } = await get(`api/sagas?source=main&after=${encodeURIComponent(after)}`)
    expect([status, body.code]).toEqual([400, 'bad-input'])
  },
)

test('every call says its rights, and nothing is answered without the token', async () => {
  const { ui } = await openMemory({ allow: ['retry', 'discard', 'pause', 'bodies'] })
  const stranger = client(ui, { headers: { authorization: `Bearer ${TOKEN}x` } })
  for (const [path, methods] of Object.entries(paths))
    for (const method of Object.keys(methods)) {
      const init = { headers: { 'content-type': 'application/json' } }
      const { status, body } = await stranger.ask(method.toUpperCase(), path.slice(1), init)
      expect([path, status, body.code]).toEqual([path, 401, 'no-token'])
    }
})
