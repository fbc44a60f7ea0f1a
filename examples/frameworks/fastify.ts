/** Fastify 5: the plugin starts and stops the app. */
import Fastify from 'fastify'
import { mersal } from '../../src/fastify/index.ts' // in your program: 'mersal/fastify'
import { type Listening, placeOrder, shopApp } from './shop.ts'

export async function openFastify(folder: string): Promise<Listening> {
  const app = shopApp(folder)
  const web = Fastify()
  await web.register(mersal, { app })
  web.post('/orders', async (request, reply) => {
    const { item } = request.body as { item: string }
    const placed = await app.transaction((tx, sender) => placeOrder(item, tx, sender))
    return reply.code(201).send(placed)
  })
  return {
    url: await web.listen({ port: 0, host: '127.0.0.1' }),
    close: () => web.close(),
  }
}
