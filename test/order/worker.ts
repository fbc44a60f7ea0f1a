import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'pg'
import { command, Mersal, type Transport } from '../../src/index.ts'
import { nats } from '../../src/nats.ts'
import { postgres } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { redis } from '../../src/redis.ts'

/** One process of an app that reads in order. Its effects are rows. */
export interface OrderPlan {
  readonly broker: Broker
  readonly database: string
  readonly schema: string
  readonly name: string
}

export type Broker =
  | { readonly kind: 'rabbitmq'; readonly url: string; readonly eventsExchange: string }
  | { readonly kind: 'nats' | 'redis'; readonly url: string }

export const Move = command<{ account: string; number: number; poison: boolean }>('accounts.move')

function transportOf(broker: Broker): Transport {
  switch (broker.kind) {
    case 'rabbitmq':
      return rabbitmq({
        url: broker.url,
        eventsExchange: broker.eventsExchange,
        partitions: 8,
        newQueuePauseMs: 0,
        heartbeatSeconds: 1,
        logger: false,
      })
    case 'nats':
      return nats({ url: broker.url, partitions: 8, ackWaitMs: 5000, logger: false })
    case 'redis':
      return redis({ url: broker.url, visibilityMs: 5000, logger: false })
    default:
      return broker satisfies never
  }
}

async function work(plan: OrderPlan): Promise<void> {
  const pool = new Pool({
    connectionString: plan.database,
    max: 12,
    options: `-c search_path=${plan.schema}`,
  })
  const app = new Mersal({
    name: plan.name,
    store: postgres({ pool, schema: plan.schema }),
    transport: transportOf(plan.broker),
    receive: {
      orderPerKey: true,
      concurrency: 8,
      immediateRetries: 0,
      maxDeliveries: 3,
      backoff: { firstMs: 20, longestMs: 40 },
    },
    logger: false,
  })
  app.handle(Move, async ({ account, number, poison }, { tx, attempt }) => {
    await wait(number % 5)
    if (poison) {
      await pool.query('insert into tries (account, number) values ($1, $2)', [account, number])
      throw new Error('every try fails')
    }
    if (number % 7 === 0 && attempt === 1) throw new Error('the first try fails')
    // Sees only what is committed: every earlier effect of the account must be.
    const { rows } = await tx.query(
      'select count(*)::int as earlier from effects where account = $1 and number < $2',
      [account, number],
    )
    const { earlier } = (rows as { earlier: number }[])[0] ?? { earlier: -1 }
    await tx.query(
      'insert into effects (account, number, earlier, process) values ($1, $2, $3, $4)',
      [account, number, earlier, process.pid],
    )
  })
  await app.start()
  process.on('SIGTERM', () => void app.stop().then(() => process.exit(0)))
  process.stdout.write('started\n')
}

const [, , given] = process.argv
if (given?.startsWith('{') === true) await work(JSON.parse(given) as OrderPlan)
