/** Express 5: the app starts before the server listens, and stops after it. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { type Listening, placeOrder, shopApp } from './shop.ts'

export async function openExpress(folder: string): Promise<Listening> {
  const app = shopApp(folder)
  await app.start()
  const web = express()
  web.use(express.json())
  web.post('/orders', async (request, response) => {
    const { item } = request.body as { item: string }
    const placed = await app.transaction((tx, sender) => placeOrder(item, tx, sender))
    response.status(201).json(placed)
  })
  const server = web.listen(0, '127.0.0.1')
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
