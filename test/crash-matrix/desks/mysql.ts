import { createPool, type PoolConnection, type RowDataPacket } from 'mysql2/promise'
import { mysql, type MysqlConnection } from '../../../src/mysql.ts'
import { inTransaction } from '../../mysql/transaction.ts'
import type { WorkerPlan } from '../plan.ts'
import { type Desk, type DeskOptions, keepSentMs } from './desk.ts'

const DUPLICATE = 1062

export function mysqlDesk(plan: WorkerPlan, { migrate }: DeskOptions): Desk<MysqlConnection> {
  const pool = createPool({ uri: plan.database, connectionLimit: 5, connectTimeout: 5000 })
  pool.on('connection', (connection: PoolConnection) => {
    connection.on('error', () => {}) // the call that fails tells of it
  })
  const store = mysql({ pool, migrate, keepSentMs: keepSentMs(plan) })
  return {
    store,
    queue() {
      throw new Error('there is no road straight into a queue of this database')
    },
    async addStudent(tx, number, host) {
      const mark = host ? '/* host */' : ''
      await tx.execute(`insert into students (number) values (?) ${mark}`, [number])
    },
    async addEffect(tx, { number, part }, message) {
      await tx.execute('insert into effects (number, part, message) values (?, ?, ?)', [
        number,
        part,
        message,
      ])
    },
    async isPutRight(tx) {
      const [rows] = (await tx.query('select yes from put_right')) as [readonly unknown[]]
      return rows.length > 0
    },
    async hasStudent(number) {
      const [rows] = await pool.query<RowDataPacket[]>(
        'select number from students where number = ?',
        [number],
      )
      return rows.length > 0
    },
    foreign: (end, work) => inTransaction(pool, end, work),
    isTaken: (error) => (error as { errno?: unknown }).errno === DUPLICATE,
    async close() {
      await store[Symbol.asyncDispose]()
      await pool.end()
    },
  }
}
