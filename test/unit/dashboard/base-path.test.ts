import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { expect, test } from 'vitest'
import { client, openMemory, ORIGIN, TOKEN } from './support.ts'

test.each([
  ['/', '', ''],
  ['/ops/v1.2/mersal', '/ops/v1.2/mersal', '/ops/v1.2'],
  ['/ops/my.admin/', '/ops/my.admin', '/ops'],
  ['/über uns'.replace(' ', '%20'), '/%C3%BCber%20uns', '/uber'],
  ['/%C3%BCber%20uns', '/über%20uns', '/'],
  ['/a%2Fb', '/a%2fb', '/a/b'],
])('a dashboard at %s is asked at %s, and not elsewhere', async (path, asked, elsewhere) => {
  const { ui } = await openMemory({ path })
  const { get } = client(ui, { base: asked })
  expect((await get('api/me')).status).toBe(200)
  expect((await get('api/../../../api/me')).status).not.toBe(500)
  if (asked === '') return
  expect((await client(ui, { base: elsewhere }).get('api/me')).status).toBe(404)
  // Relative, so that neither a proxy nor a hostile address leads it elsewhere.
  const { status, headers } = await get(`${ORIGIN}${asked}?a=b`)
  expect(status).toBe(302)
  const location = headers.get('location') ?? ''
  expect(location).toMatch(/^\.\/[^/]+\/\?a=b$/)
  expect(new URL(location, `${ORIGIN}${asked}`).pathname).toBe(
    new URL(`${asked}/`, ORIGIN).pathname,
  )
})

test('a dashboard finds out where Express has mounted it', async () => {
  const { ui } = await openMemory({ allow: ['pause'] })
  const web = express()
  web.use(express.json())
  web.use('/admin/v1.0', ui.node)
  await using server = await listening(web.listen(0, '127.0.0.1'))
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  const me = await fetch(`${server.url}/admin/v1.0/api/me`, { headers })
  expect(await me.json()).toMatchObject({ rights: ['pause'] })
  const moved = await fetch(`${server.url}/admin/v1.0`, { redirect: 'manual' })
  expect([moved.status, moved.headers.get('location')]).toEqual([302, './v1.0/'])
  const pause = await fetch(`${server.url}/admin/v1.0/api/pauses`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ source: 'main', kind: 'key', name: 'k' }),
  })
  expect(await pause.json()).toEqual({ changed: true })
})

test('a server of node:http answers bad requests, large bodies and HEAD', async () => {
  const { ui } = await openMemory({ allow: ['pause'] })
  const made = createServer((request, response) => void ui.node(request, response))
  await using server = await listening(made.listen(0, '127.0.0.1'))
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
  const head = await fetch(`${server.url}/api/me`, { method: 'HEAD', headers })
  expect([head.status, await head.text()]).toEqual([200, ''])
  const body = JSON.stringify({ source: 'x'.repeat(1_100_000) })
  const large = await fetch(`${server.url}/api/pauses`, { method: 'POST', headers, body })
  expect(large.status).toBe(413)
  const odd = await fetch(`${server.url}/api/me`, { method: 'DELETE', headers })
  expect(odd.status).toBe(405)
})

async function listening(server: ReturnType<typeof createServer>) {
  if (!server.listening) await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
