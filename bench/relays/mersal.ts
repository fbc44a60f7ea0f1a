import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import type { Store } from '../../src/core/store.ts'
import type { PublishOutcome, Transport } from '../../src/core/transport.ts'
import { silentLogger, stderrLogger } from '../../src/core/telemetry.ts'
import { systemClock, systemRandom } from '../../src/lib/async/clock.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
import { createRelay } from '../../src/outbox/relay.ts'
import { relaySettings } from '../../src/outbox/options.ts'
import { postgres } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import type { BenchRelay, OpenRelay, RelayJob, Sink } from './job.ts'

/** The relay as `mersal relay` runs it. */
export const mersal: OpenRelay = async (job, sink) => {
  const pool = new Pool({ connectionString: job.database })
  const store = postgres({ pool, schema: 'bench', migrate: 'check', ...job.store })
  return await relayOf({ job, sink }, store, {
    holdsRows: () => holdsRows(pool),
    close: () => pool.end(),
  })
}

interface Given {
  readonly job: RelayJob
  readonly sink: Sink
}

interface Around {
  /** Whether there are still rows in the outbox. */
  readonly holdsRows: () => Promise<boolean>
  readonly close: () => Promise<void>
}

/** Over any store. */
export async function relayOf<Tx>(
  { job, sink }: Given,
  store: Store<Tx>,
  { holdsRows, close }: Around,
): Promise<BenchRelay> {
  await store.open()
  const commitLog = job.kind === 'mersal, log'
  if (commitLog) await store.commitLog?.prepare()
  const transport = transportFor(job, sink)
  const relay = createRelay({
    environment: {
      app: 'relay',
      logger: stderrLogger,
      clock: systemClock,
      random: systemRandom,
      newToken: () => uuidv7(systemClock.now()),
    },
    storage: store.outbox,
    transports: new Map([['default', transport]]),
    wakers: store.wakers ?? [],
    settings: relaySettings({ express: false, commitLog }),
    log: store.commitLog,
  })
  return {
    async start() {
      relay.start()
    },
    async drained() {
      // Rows behind those that another relay holds are not waited for by drain(). One that asked
      // for them without a pause would take the CPU from the one that holds them.
      for (;;) {
        await relay.drain()
        if (!(await holdsRows())) return
        await sleep(20)
      }
    },
    async [Symbol.asyncDispose]() {
      await relay.stop()
      await transport[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
      await close()
    },
  }
}

async function holdsRows(pool: Pool): Promise<boolean> {
  const { rows } = await pool.query<{ some: boolean }>(
    'select exists (select from bench.outbox) as some',
  )
  return rows[0]?.some === true
}

function transportFor({ rabbit, kind }: RelayJob, sink: Sink): Transport {
  if (rabbit !== undefined) {
    const bundles = kind === 'mersal, bundles' ? { bundles: { messages: 10 } } : {}
    return rabbitmq({ url: rabbit.url, queueType: rabbit.type, logger: silentLogger, ...bundles })
  }
  const confirmed: Promise<PublishOutcome> = Promise.resolve({ kind: 'confirmed' })
  return {
    name: 'counting',
    features: { ordering: 'per-key', maxMessageBytes: 1 << 20 },
    publish(messages) {
      void sink.publish(
        messages.map(({ body }) => Buffer.from(body.buffer, body.byteOffset, body.byteLength)),
      )
      return messages.map(() => confirmed)
    },
    subscribe: () => Promise.resolve(),
    consume: () => Promise.reject(new Error('nobody consumes here')),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
