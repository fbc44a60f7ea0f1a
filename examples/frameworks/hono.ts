/** Hono 4 on Node. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { type Listening, placeOrder, shopApp } from './shop.ts'

export async function openHono(folder: string): Promise<Listening> {
  const app = shopApp(folder)
  await app.start()
  const web = new Hono()
  web.post('/orders', async (context) => {
    const { item } = await context.req.json<{ item: string }>()
    const placed = await app.transaction((tx, sender) => placeOrder(item, tx, sender))
    return context.json(placed, 201)
  })
  const server = serve({ fetch: web.fetch, port: 0, hostname: '127.0.0.1' }) as Server
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeIdleConnections()
      await closed
      await app.stop()
    },
  }
}
