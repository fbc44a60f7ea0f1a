import { createPool, type RowDataPacket } from 'mysql2/promise'
import type { MysqlConnection } from '../../../src/mysql.ts'
import type { Faces } from '../../chaos/source.ts'
import type { Address } from '../plan.ts'
import { type Desk, KEEP_SENT_MS } from './desk.ts'

export async function openMysql(
  { adapter }: Faces,
  { database, broker }: Extract<Address, { kind: 'mysql' }>,
): Promise<Desk<MysqlConnection>> {
  const [{ mysql }, { rabbitmq }] = await Promise.all([adapter('mysql'), adapter('rabbitmq')])
  const pool = createPool({ uri: database, connectionLimit: 6 })
  return {
    store: mysql({ pool, keepSentMs: KEEP_SENT_MS }),
    transport: rabbitmq({ url: broker }),
    async draw(tx, line) {
      await tx.execute('update counter set n = n + 1 where line = ?', [line])
      const [rows] = await tx.execute('select n from counter where line = ?', [line])
      return Number((rows as RowDataPacket[])[0]?.['n'])
    },
    async effect(tx, line, n) {
      await tx.execute('insert into effect (line, n) values (?, ?)', [line, n])
    },
    async foreign(work) {
      const connection = await pool.getConnection()
      let whole = false
      try {
        await connection.beginTransaction()
        await work(connection)
        await connection.commit()
        whole = true
      } finally {
        if (whole) connection.release()
        else connection.destroy()
      }
    },
    [Symbol.asyncDispose]: () => pool.end(),
  }
}
