import { serverUrl, testDatabase } from '../../postgres/database.ts'
import { DELAYED, HELD, keyed, STRAY, UNKEYED } from '../plan.ts'
import { faces, firstCounters, lookWith, type Place, rabbitSide } from './place.ts'

export async function openPostgresPlace(broker: string): Promise<Place> {
  const { schema, query, ...database } = await testDatabase()
  await query(`create table ${schema}.counter (line text primary key, n integer not null)`)
  await query(`create table ${schema}.effect (line text not null, n integer not null)`)
  await query(
    `insert into ${schema}.counter values ${firstCounters([...keyed, UNKEYED, DELAYED, HELD, STRAY])}`,
  )
  return {
    address: { kind: 'postgres', database: serverUrl, schema, broker },
    config: `import { postgres } from '${faces}postgres.ts'
import pg from 'pg'
const pool = new pg.Pool({ connectionString: process.env.UPGRADE_DATABASE })
export default { store: postgres({ pool, schema: '${schema}' }), close: () => pool.end() }\n`,
    ...lookWith(query, {
      outbox: `${schema}.outbox where died_at is null`,
      notYet: 'visible_at > clock_timestamp() and token is null',
      sent: `${schema}.sent`,
      counter: `${schema}.counter`,
      effect: `${schema}.effect`,
    }),
    ...(await rabbitSide(broker)),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}
