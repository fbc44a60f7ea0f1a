import pg from 'pg'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import type { PublishOutcome, Transport } from '../../../src/core/transport.ts'

/** What the broker does with what it gets. */
export type Mode = 'takes' | 'is away' | 'refuses poison'

/**
 * A broker that is a table: what it has confirmed can be read back by anybody, in the order in
 * which it came, and outlives the process that published it.
 */
export interface TableBroker extends Transport {
  mode: Mode
}

export const makeBroker = `create table broker (n bigserial primary key, id text, key text, body text)`

export function tableBroker(url: string): TableBroker {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  pool.on('error', () => {})

  async function accept({ id, partitionKey, body }: OutgoingMessage): Promise<PublishOutcome> {
    const values = [id, partitionKey ?? null, Buffer.from(body).toString('utf8')]
    try {
      await pool.query('insert into broker (id, key, body) values ($1, $2, $3)', values)
      return { kind: 'confirmed' }
    } catch (error) {
      return { kind: 'unavailable', error: error as Error }
    }
  }

  function answer(broker: TableBroker, message: OutgoingMessage): Promise<PublishOutcome> {
    const { mode } = broker
    if (mode === 'is away')
      return Promise.resolve({ kind: 'unavailable', error: new Error('the broker is away') })
    if (mode === 'refuses poison' && message.type === 'poison') {
      const error = new Error('poison')
      return Promise.resolve({ kind: 'refused', reason: 'refused', error, permanent: false })
    }
    return accept(message)
  }

  let ended: Promise<void> | undefined
  const broker: TableBroker = {
    mode: 'takes',
    name: 'table',
    features: { ordering: 'none', maxMessageBytes: 64 * 1024 * 1024 },
    publish: (messages) => messages.map((message) => answer(broker, message)),
    subscribe: () => Promise.resolve(),
    consume: () => Promise.reject(new Error('nobody consumes here')),
    // The app that uses it closes it as well.
    [Symbol.asyncDispose]: () => (ended ??= pool.end()),
  }
  return broker
}
