/** Faults of MariaDB. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { onMysql, pick, upTo } from './nemesis.ts'

const crash = onMysql({
  name: 'database-crash',
  says: 'SIGKILL to MariaDB',
  touches: 'database',
  async inject({ place, random }) {
    await place.server.kill()
    await sleep(upTo(random, 0, 1500))
    await place.server.start()
    return 'killed'
  },
})

const restart = onMysql({
  name: 'database-restart',
  says: 'MariaDB is shut down and started again',
  touches: 'database',
  async inject({ place, random }) {
    await place.server.stop()
    await sleep(upTo(random, 0, 1500))
    await place.server.start()
    return 'restarted'
  },
})

const terminate = onMysql({
  name: 'terminate',
  says: 'half of the connections are ended by an operator',
  touches: 'database',
  async inject({ place, random }) {
    const connection = await createConnection({ uri: place.server.url })
    try {
      const [rows] = await connection.query<RowDataPacket[]>(
        `select id from information_schema.processlist where db = 'chaos' and id <> connection_id()`,
      )
      const chosen = rows.filter(() => random() < 0.5)
      const victims = chosen.length > 0 ? chosen : [pick(random, rows)]
      for (const { id } of victims) await connection.query(`kill ${Number(id)}`).catch(() => {})
      return `${victims.length} connections`
    } finally {
      connection.destroy()
    }
  },
})

/** Until another transaction of the harness lets go of them. */
const locked = onMysql({
  name: 'locked-rows',
  says: 'a program of somebody else holds locks on rows of the outbox and on the locks of keys',
  touches: 'database',
  async inject({ place, random }) {
    const connection = await createConnection({ uri: `${place.server.url}/chaos` })
    try {
      await connection.query('set session transaction isolation level read committed')
      await connection.beginTransaction()
      await connection.query('select position from mersal_outbox limit 200 for update skip locked')
      await connection.query('select slot from mersal_key_lock for update')
      await sleep(upTo(random, 300, 2500))
      await connection.rollback()
      return 'held'
    } finally {
      connection.destroy()
    }
  },
})

export const mysqlFaults = [crash, restart, terminate, locked]
