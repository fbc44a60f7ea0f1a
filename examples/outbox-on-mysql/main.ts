/**
 * An API writes a student and publishes an event in one transaction of MariaDB or MySQL. What has
 * not gone when the process dies goes when the next one starts.
 *
 * `DATABASE_URL=mysql://… node examples/outbox-on-mysql/main.ts` registers students in that database,
 * and prints which events leave.
 */
import { createPool, type Pool } from 'mysql2/promise'
import { event, Mersal, type Transport } from '../../src/index.ts' // in your program: 'mersal'
import { mysql, type MysqlConnection, mysqlQueue } from '../../src/mysql.ts' // 'mersal/mysql'

export const StudentRegistered = event<{ name: string }>('students.registered')

export async function openRegistrar(
  pool: Pool,
  transport: Transport,
): Promise<Mersal<MysqlConnection>> {
  await pool.query(
    'create table if not exists students (id int auto_increment primary key, name varchar(100) not null unique)',
  )
  const app = new Mersal({ name: 'registrar', store: mysql({ pool }), transport, sendOnly: true })
  await app.start()
  return app
}

/** Throws when there is such a student already; then nobody is told anything. */
export async function register(app: Mersal<MysqlConnection>, name: string): Promise<void> {
  await app.transaction(async (tx, { publish }) => {
    await publish(StudentRegistered, { name }, { partitionKey: name })
    await tx.execute('insert into students (name) values (?)', [name])
  })
}

/** The same in a transaction that you open yourself. */
export async function registerMany(
  app: Mersal<MysqlConnection>,
  pool: Pool,
  names: readonly string[],
): Promise<void> {
  const connection = await pool.getConnection()
  try {
    await connection.beginTransaction()
    for (const name of names) {
      await connection.execute('insert into students (name) values (?)', [name])
      await app.within(connection).publish(StudentRegistered, { name }, { partitionKey: name })
    }
    await connection.commit()
  } catch (error) {
    await connection.rollback()
    throw error
  } finally {
    connection.release()
  }
}

async function main(): Promise<void> {
  const pool = createPool(process.env['DATABASE_URL'] ?? 'mysql://root@127.0.0.1:3306/test')
  const transport = mysqlQueue({ pool, pollIntervalMs: 50 })
  const name = `Ada ${Date.now()}`
  const told = Promise.withResolvers<void>()
  const office = new Mersal({ name: 'office', store: mysql({ pool }), transport })
  office.handle(StudentRegistered, (student) => {
    process.stdout.write(`an event tells of ${student.name}\n`)
    if (student.name === name) told.resolve()
  })
  await office.start()
  const registrar = await openRegistrar(pool, mysqlQueue({ pool }))
  try {
    await register(registrar, name)
    await register(registrar, name).catch(() => process.stdout.write('there is one already\n'))
    await told.promise
  } finally {
    await registrar.stop()
    await office.stop()
    await pool.end()
  }
}

if (import.meta.main) await main()
