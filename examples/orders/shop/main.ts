/**
 * Takes orders over HTTP. What it publishes is moved to RabbitMQ by the relay, a program of its
 * own.
 */
import { once } from 'node:events'
import { serve } from '@hono/node-server'
import { Mersal, stopOnSignals } from '../../../src/index.ts' // in your program: 'mersal'
import { rabbitmq } from '../../../src/rabbitmq.ts' // 'mersal/rabbitmq'
import { openDatabase } from '../database.ts'
import { required } from '../environment.ts'
import { shopRoutes } from './http.ts'
import { makeTables } from './tables.ts'

const database = await openDatabase(...makeTables)
const app = new Mersal({
  name: 'shop',
  store: database.store,
  transport: rabbitmq({ url: required('AMQP_URL') }),
  sendOnly: true,
  outbox: { runRelay: false },
})
await app.start()

const server = serve(
  { fetch: shopRoutes(app, database).fetch, port: Number(process.env['PORT'] ?? 3000) },
  ({ port }) => {
    process.stdout.write(`shop listens on http://127.0.0.1:${port}\n`)
  },
)

// First no more requests, then no more messages, then no more database.
const stopRequests = async (): Promise<void> => {
  server.close()
  await once(server, 'close')
}
const stopping = stopOnSignals({ stop: (options) => stopRequests().then(() => app.stop(options)) })
await stopping.stopped
await database.close()
