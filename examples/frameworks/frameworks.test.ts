import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import { expect, test } from 'vitest'
import { Listener } from '../listen.ts'
import { openExpress } from './express.ts'
import { openFastify } from './fastify.ts'
import { openHono } from './hono.ts'
import { routeHandlers } from './route-handler.ts'
import { type Listening, OrderPlaced, placeOrder, shopApp } from './shop.ts'

/** A server such as a platform has, around the handlers. */
async function openRouteHandlers(folder: string): Promise<Listening> {
  const { GET, POST, close } = routeHandlers(folder)
  const fetch = (request: Request) => (request.method === 'POST' ? POST(request) : GET())
  const server = serve({ fetch, port: 0, hostname: '127.0.0.1' }) as Server
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeIdleConnections()
      await closed
      await close()
    },
  }
}

const servers = {
  Express: openExpress,
  Hono: openHono,
  Fastify: openFastify,
  'route handlers': openRouteHandlers,
}

test.each(Object.entries(servers))(
  '%s answers 201, and the event arrives at the broker',
  async (_, open) => {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
    try {
      await using listener = await new Listener(folder).listen(OrderPlaced.name)
      const server = await open(folder)
      const response = await fetch(`${server.url}/orders`, {
        method: 'POST',
        body: JSON.stringify({ item: 'book' }),
        headers: { 'content-type': 'application/json' },
      })
      expect([response.status, await response.json()]).toEqual([201, { order: 1 }])
      expect(await listener.until(1)).toEqual([{ order: 1, item: 'book' }])
      await server.close()
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

test('what a function had to leave is published by the call of a clock', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  try {
    await using listener = await new Listener(folder).listen(OrderPlaced.name)
    // A process that dies between the commit and the call of drain().
    await using dying = shopApp(folder, false)
    await dying.transaction((tx, sender) => placeOrder('lamp', tx, sender))
    const { GET, close } = routeHandlers(folder)
    expect(await (await GET()).json()).toMatchObject({ published: 1, more: false })
    expect(await listener.until(1)).toEqual([{ order: 1, item: 'lamp' }])
    await close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
