/**
 * `MERSAL_PROVE_DATABASE_URL=mysql://… npx mersal prove` in this folder. Each trial has a database
 * of its own.
 */
import { createPool } from 'mysql2/promise'
import { Mersal } from '../../src/index.ts' // in your program: 'mersal'
import { mysql, mysqlQueue } from '../../src/mysql.ts' // 'mersal/mysql'
import { defineProof } from '../../src/testing/index.ts' // 'mersal/testing'
import { openRegistrar, register, StudentRegistered } from './main.ts'

export default defineProof({
  async open({ databaseUrl }) {
    const pool = createPool(databaseUrl)
    await pool.query(
      'create table if not exists letters (id int auto_increment primary key, name text)',
    )
    const office = new Mersal({
      name: 'office',
      store: mysql({ pool }),
      transport: mysqlQueue({ pool, visibilityMs: 2000 }),
    })
    office.handle(StudentRegistered, async ({ name }, { tx }) => {
      await tx.execute('insert into letters (name) values (?)', [name])
    })
    await office.start()
    return await openRegistrar(pool, mysqlQueue({ pool }))
  },
  act: (app, n) => register(app, `${n}`),
  rows: 'select name from students',
  effects: 'select name from letters order by id',
})
