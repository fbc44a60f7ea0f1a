import { Pool } from 'pg'
import { event, Mersal } from '../../../src/index.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { type Library, type Opened, type Ports } from '../candidate.ts'
import type { Body } from '../plan.ts'

const Happened = event<Body>('rivals.happened')
const APP = 'ledger'

function appOf({ database, rabbitmq: url, watch }: Ports, name: string): Mersal<PostgresClient> {
  const pool = new Pool({ connectionString: database, max: 8 })
  pool.on('connect', watch)
  return new Mersal({
    name,
    store: postgres({ pool }),
    transport: rabbitmq({ url }),
    sendOnly: name !== APP,
    receive: {
      orderPerKey: true,
      immediateRetries: 0,
      maxDeliveries: 3,
      backoff: { firstMs: 300, longestMs: 300 },
    },
    logger: false,
  })
}

async function open(ports: Ports): Promise<Opened> {
  let app: Mersal<PostgresClient> | undefined
  return {
    async write(body) {
      if (app === undefined) {
        app = appOf(ports, 'sender')
        await app.start()
      }
      await app.transaction(async (tx, { publish }) => {
        await ports.row(tx, body)
        await publish(Happened, body, { partitionKey: body.line })
      })
    },
    async consume(handle) {
      app = appOf(ports, APP)
      app.handle(Happened, (body, { tx }) => handle(tx, body))
      await app.start()
    },
    [Symbol.asyncDispose]: async () => await app?.stop(),
  }
}

export const library: Library = {
  open,
  async given({ rabbitmq: url }) {
    await using transport = rabbitmq({ url })
    return (await transport.deadLettersOf(APP).list()).length
  },
}
