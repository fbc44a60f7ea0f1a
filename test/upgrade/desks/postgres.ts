import { Pool } from 'pg'
import type { PostgresClient } from '../../../src/postgres.ts'
import type { Faces } from '../../chaos/source.ts'
import type { Address } from '../plan.ts'
import { type Desk, KEEP_SENT_MS } from './desk.ts'

export async function openPostgres(
  { adapter }: Faces,
  { database, schema, broker }: Extract<Address, { kind: 'postgres' }>,
): Promise<Desk<PostgresClient>> {
  const [{ postgres }, { rabbitmq }] = await Promise.all([adapter('postgres'), adapter('rabbitmq')])
  const pool = new Pool({ connectionString: database, max: 6 })
  return {
    store: postgres({ pool, schema, keepSentMs: KEEP_SENT_MS }),
    transport: rabbitmq({ url: broker }),
    async draw(tx, line) {
      const { rows } = await tx.query(
        `update ${schema}.counter set n = n + 1 where line = $1 returning n`,
        [line],
      )
      return (rows[0] as { n: number }).n
    },
    async effect(tx, line, n) {
      await tx.query(`insert into ${schema}.effect (line, n) values ($1, $2)`, [line, n])
    },
    async foreign(work) {
      const client = await pool.connect()
      let broken = true
      try {
        await client.query('begin')
        await work(client)
        await client.query('commit')
        broken = false
      } finally {
        client.release(broken)
      }
    },
    [Symbol.asyncDispose]: () => pool.end(),
  }
}
