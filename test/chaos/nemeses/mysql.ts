/** Faults of MariaDB. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise'
import { type MysqlScene, onMysql, pick, upTo } from './nemesis.ts'

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

/** A connection of somebody else, who may do anything. */
async function guest<Result>(
  { place }: MysqlScene,
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const connection = await createConnection({ uri: `${place.server.url}/chaos` })
  connection.on('error', () => {}) // the call that fails tells of it
  try {
    return await work(connection)
  } finally {
    connection.destroy()
  }
}

const away = onMysql({
  name: 'database-away',
  says: 'MariaDB is away for 8 to 15 seconds, while messages wait at the broker',
  touches: 'database',
  async inject({ place, random }) {
    const ms = upTo(random, 8000, 15_000)
    await place.server.kill()
    await sleep(ms)
    await place.server.start()
    return `${Math.round(ms)} ms`
  },
})

const frozen = onMysql({
  name: 'database-frozen',
  says: 'MariaDB stands still for 1 to 8 seconds (SIGSTOP), and goes on',
  touches: 'database',
  async inject({ place, random }) {
    const ms = upTo(random, 1000, 8000)
    await place.server.freeze()
    try {
      await sleep(ms)
    } finally {
      await place.server.thaw()
    }
    return `${Math.round(ms)} ms`
  },
})

const LOCK_WAIT_TIMEOUT = 1205

/**
 * The server waits for writers that are in a statement, and lets nobody begin another one
 * meanwhile. Writers of one key would wait for each other until innodb_lock_wait_timeout, as the
 * page on MySQL says; so an operator gives up after two seconds, and tries again.
 */
async function stopWrites(connection: Connection): Promise<void> {
  await connection.query('set lock_wait_timeout = 2')
  for (let tries = 1; ; tries++) {
    try {
      return void (await connection.query('set global read_only = 1'))
    } catch (error) {
      if ((error as { errno?: unknown }).errno !== LOCK_WAIT_TIMEOUT || tries === 10) throw error
      await sleep(500)
    }
  }
}

const readOnly = onMysql({
  name: 'read-only',
  says: 'MariaDB takes no writes for seconds, as a replica does',
  touches: 'database',
  inject: (scene) =>
    guest(scene, async (connection) => {
      const ms = upTo(scene.random, 4000, 9000)
      await stopWrites(connection)
      try {
        await sleep(ms)
      } finally {
        await connection.query('set global read_only = 0')
      }
      return `${Math.round(ms)} ms`
    }),
})

const TOO_MANY = 1040

/** Opens connections until the server has no more. */
async function crowd({ place }: MysqlScene): Promise<readonly Connection[]> {
  const guests: Connection[] = []
  for (;;) {
    try {
      const uri = `mysql://guest@127.0.0.1:${place.server.port}/chaos`
      const connection = await createConnection({ uri })
      connection.on('error', () => {})
      guests.push(connection)
    } catch (error) {
      if ((error as { errno?: unknown }).errno === TOO_MANY) return guests
      for (const each of guests) each.destroy()
      throw error
    }
  }
}

const crowded = onMysql({
  name: 'crowded',
  says: 'the server has no connection left, and the programs lose some of theirs',
  touches: 'database',
  inject: (scene) =>
    guest(scene, async (operator) => {
      const guests = [...(await crowd(scene))]
      try {
        const { name } = pick(scene.random, scene.programs)
        const [rows] = await operator.query<RowDataPacket[]>(
          'select id from information_schema.processlist where user = ?',
          [name],
        )
        for (const { id } of rows) await operator.query(`kill ${Number(id)}`).catch(() => {})
        // Whoever comes first gets the places that have become free.
        guests.push(...(await crowd(scene)))
        await sleep(upTo(scene.random, 3000, 7000))
        return `${rows.length} connections of ${name}, ${guests.length} guests`
      } finally {
        for (const each of guests) each.destroy()
      }
    }),
})

const tablesLocked = onMysql({
  name: 'locked',
  says: 'somebody holds the outbox and the inbox in a lock that lets nobody in, as a careless migration does',
  touches: 'database',
  inject: (scene) =>
    guest(scene, async (connection) => {
      const ms = upTo(scene.random, 2000, 7000)
      await connection.query('lock tables mersal_outbox write, mersal_inbox write')
      await sleep(ms)
      await connection.query('unlock tables')
      return `${Math.round(ms)} ms`
    }),
})

async function deadlocks(connection: Connection): Promise<number> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `show global status like 'innodb_deadlocks'`,
  )
  return Number(rows[0]?.['Value'] ?? 0)
}

/**
 * Holds the gaps of the outbox, in which writers want to insert, and then wants the locks of the
 * keys, which those writers hold: the server has to undo one of them.
 */
const gaps = onMysql({
  name: 'gap-locks',
  says: 'a program of somebody else locks the gaps between the rows of the outbox (REPEATABLE READ), and then the keys of those who wait for it: deadlocks',
  touches: 'database',
  inject: (scene) =>
    guest(scene, async (connection) => {
      const before = await deadlocks(connection)
      let rounds = 0
      for (const late = performance.now() + 10_000; performance.now() < late; rounds += 1) {
        await connection.query('set session transaction isolation level repeatable read')
        await connection.beginTransaction()
        try {
          await connection.query('select position from mersal_outbox where position > 0 for update')
          await sleep(upTo(scene.random, 200, 900))
          await connection.query('select slot from mersal_key_lock order by slot for update')
        } catch {
          // It was the one that had to go: a deadlock, or waiting for too long.
        }
        await connection.rollback()
        if ((await deadlocks(connection)) > before && rounds >= 2) break
        await sleep(upTo(scene.random, 50, 300))
      }
      const seen = (await deadlocks(connection)) - before
      if (seen === 0) throw new Error(`no deadlock in ${rounds} rounds`)
      return `${seen} deadlocks in ${rounds} rounds`
    }),
})

/** Longer than a connection of ours waits for a lock. */
const LONG_MS = 6500

const lockWait = onMysql({
  name: 'lock-wait',
  says: 'a program of somebody else holds the rows of the inbox and of the outbox for longer than Mersal waits for a lock',
  touches: 'database',
  inject: (scene) =>
    guest(scene, async (connection) => {
      await connection.query('set session transaction isolation level read committed')
      await connection.beginTransaction()
      await connection.query('select position from mersal_outbox for update skip locked')
      await connection.query('select message_id from mersal_inbox for update skip locked')
      await sleep(LONG_MS)
      await connection.rollback()
      return `${LONG_MS} ms`
    }),
})

export const mysqlFaults = [
  crash,
  restart,
  terminate,
  locked,
  away,
  frozen,
  readOnly,
  crowded,
  tablesLocked,
  gaps,
  lockWait,
]
