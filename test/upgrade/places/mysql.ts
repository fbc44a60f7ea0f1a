import { testDatabase } from '../../mysql/server.ts'
import { DELAYED, HELD, keyed, STRAY, UNKEYED } from '../plan.ts'
import { faces, firstCounters, lookWith, type Place, rabbitSide } from './place.ts'

export async function openMysqlPlace(broker: string): Promise<Place> {
  const { url, query, ...database } = await testDatabase()
  await query('create table counter (line varchar(20) primary key, n int not null)')
  await query('create table effect (line varchar(20) not null, n int not null)')
  await query(
    `insert into counter values ${firstCounters([...keyed, UNKEYED, DELAYED, HELD, STRAY])}`,
  )
  return {
    address: { kind: 'mysql', database: url, broker },
    config: `import { mysql } from '${faces}mysql.ts'
import { createPool } from 'mysql2/promise'
const pool = createPool({ uri: process.env.UPGRADE_DATABASE })
export default { store: mysql({ pool }), close: () => pool.end() }\n`,
    ...lookWith(query, {
      outbox: 'mersal_outbox where died_at is null',
      notYet: 'visible_at > utc_timestamp(6) and token is null',
      sent: 'mersal_sent',
      counter: 'counter',
      effect: 'effect',
    }),
    ...(await rabbitSide(broker)),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}
