/** Faults of the database. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Nemesis, onCluster, onSqlite, pick, type ClusterScene, upTo } from './nemesis.ts'

const terminate = onCluster({
  name: 'terminate',
  says: 'every backend of one process is terminated by an operator',
  touches: 'database',
  async inject({ place, programs, random }) {
    const { name } = pick(random, programs)
    const rows = await place.query<{ done: boolean }>(
      'select pg_terminate_backend(pid) as done from pg_stat_activity where application_name = $1',
      [name],
    )
    const count = rows.filter(({ done }) => done).length
    if (count === 0) throw new Error(`${name} had no backend`)
    return `${count} of ${name}`
  },
})

function gone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

const databaseRestart = onCluster({
  name: 'database-restart',
  says: 'PostgreSQL is shut down (fast) and started again',
  touches: 'database',
  async inject({ place, random }) {
    const [row] = await place.query<{ pid: string }>(
      `select split_part(pg_read_file('postmaster.pid'), E'\\n', 1) as pid`,
    )
    const pid = Number(row?.pid)
    process.kill(pid, 'SIGINT')
    while (!gone(pid)) await sleep(20)
    await sleep(upTo(random, 0, 1500))
    await place.cluster.start()
    return 'restarted'
  },
})

const databaseCrash = onCluster({
  name: 'database-crash',
  says: 'SIGKILL to every process of PostgreSQL',
  touches: 'database',
  async inject({ place, random }) {
    await place.cluster.kill()
    await sleep(upTo(random, 0, 1500))
    await place.cluster.start()
    return 'killed'
  },
})

/** Where the flushed part of the log ends, as the server says. */
async function unflushed({ place }: ClusterScene): Promise<number> {
  const [row] = await place.query<{ bytes: string }>(
    'select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn())::text as bytes',
  )
  return Number(row?.bytes ?? 0)
}

const asyncCrash = onCluster({
  name: 'async-crash',
  says: 'PostgreSQL is killed while commits with synchronous_commit = off are not on the disk',
  touches: 'database',
  async inject(scene) {
    const { place, programs, random } = scene
    // Everybody else flushes the log for them, so those have to hold still; at times without the
    // relays, which must flush it.
    const relays = random() < 0.5
    const others = programs.filter(
      ({ name, role }) => name !== 'producer-2' && !(relays && role === 'relay'),
    )
    const enough = relays ? 1 : 2000
    await place.cluster.holdWalWriter()
    let bytes = 0
    try {
      for (const program of others) program.signal('SIGSTOP')
      for (let tries = 0; tries < 60 && bytes < enough; tries += 1) {
        await sleep(relays ? 400 : 50)
        bytes = await unflushed(scene)
      }
      await place.cluster.kill()
    } finally {
      for (const program of others) program.signal('SIGCONT')
    }
    await place.cluster.start()
    if (bytes < enough) throw new Error(`only ${bytes} bytes of the log were not flushed`)
    return `${bytes} bytes lost, ${relays ? 'with' : 'without'} relays`
  },
})

const busy = onSqlite({
  name: 'busy',
  says: 'another program holds the lock of the database file for seconds',
  touches: 'database',
  async inject({ place, random }) {
    const ms = upTo(random, 1500, 7000)
    await place.holdLock(ms)
    return `${Math.round(ms)} ms`
  },
})

export const databaseFaults: readonly Nemesis[] = [
  terminate,
  databaseRestart,
  databaseCrash,
  asyncCrash,
  busy,
]
