/**
 * Outages of the database which are nobody's fault: no message is charged for them, and none dies.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { type Nemesis, onCluster, pick, type ClusterScene, upTo } from './nemesis.ts'

const away = onCluster({
  name: 'database-away',
  says: 'PostgreSQL is away for 8 to 15 seconds, while messages wait at the broker',
  touches: 'database',
  async inject({ place, random }) {
    const ms = upTo(random, 8000, 15_000)
    await place.cluster.kill()
    await sleep(ms)
    await place.cluster.start()
    return `${Math.round(ms)} ms`
  },
})

const readOnly = onCluster({
  name: 'read-only',
  says: 'PostgreSQL takes no writes for seconds, as a standby or a full disk does',
  touches: 'database',
  async inject({ place, random }) {
    const set = async (value: 'on' | 'off'): Promise<void> => {
      await place.query(`alter system set default_transaction_read_only = ${value}`)
      await place.query('select pg_reload_conf()')
    }
    await set('on')
    const ms = upTo(random, 4000, 9000)
    await sleep(ms)
    const [row] = await place.query<{ mode: string }>(
      `select current_setting('default_transaction_read_only') as mode`,
    )
    await set('off')
    if (row?.mode !== 'on') throw new Error('the server went on writing')
    return `${Math.round(ms)} ms`
  },
})

function guest({ place }: ClusterScene): Client {
  const client = new Client({ connectionString: place.cluster.url, application_name: 'crowd' })
  client.on('error', () => {})
  return client
}

/** Opens connections until the server has no more. */
async function crowd(scene: ClusterScene): Promise<readonly Client[]> {
  const clients: Client[] = []
  for (;;) {
    const client = guest(scene)
    try {
      await client.connect()
    } catch (error) {
      if ((error as { code?: unknown }).code === '53300') return clients
      throw error
    }
    clients.push(client)
  }
}

const crowded = onCluster({
  name: 'crowded',
  says: 'the server has no connection left, and the programs lose some of theirs',
  touches: 'database',
  async inject(scene) {
    const { programs, random } = scene
    // A full server takes no connection of an operator either.
    const operator = guest(scene)
    const guests = [operator]
    try {
      await operator.connect()
      guests.push(...(await crowd(scene)))
      const { name } = pick(random, programs)
      const { rowCount } = await operator.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1`,
        [name],
      )
      // Whoever comes first gets the places that have become free.
      guests.push(...(await crowd(scene)))
      await sleep(upTo(random, 3000, 7000))
      return `${rowCount} connections of ${name}, ${guests.length} guests`
    } finally {
      await Promise.all(guests.map((guest) => guest.end().catch(() => {})))
    }
  },
})

const locked = onCluster({
  name: 'locked',
  says: 'somebody holds the outbox and the inbox in a lock that lets nobody in, as a careless migration does',
  touches: 'database',
  async inject({ place, random }) {
    const ms = upTo(random, 2000, 7000)
    const client = new Client({ connectionString: place.cluster.url, application_name: 'locker' })
    client.on('error', () => {})
    await client.connect()
    try {
      await client.query('begin')
      await client.query('lock table chaos.inbox, chaos.outbox in access exclusive mode')
      await sleep(ms)
      await client.query('rollback')
    } finally {
      await client.end().catch(() => {})
    }
    return `${Math.round(ms)} ms`
  },
})

export const outageFaults: readonly Nemesis[] = [away, readOnly, crowded, locked]
