/** Faults of the log of PostgreSQL, and of whoever reads it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { SLOT } from '../places/cluster.ts'
import type { Program } from '../programs.ts'
import { type Nemesis, onPostgres, type PostgresScene, upTo } from './nemesis.ts'

/** Another relay takes over within 5 seconds. */
const PATIENCE_MS = 15_000

interface Slot {
  readonly name: string
  readonly pid: number
  readonly reader: string
}

/** The slot through which somebody reads; waits for a reader. */
async function slotOf({ place }: PostgresScene): Promise<Slot> {
  for (const late = performance.now() + PATIENCE_MS; performance.now() < late; await sleep(100)) {
    const [slot] = await place.query<Slot>(
      `select s.slot_name as name, s.active_pid as pid, a.application_name as reader
       from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid
       where s.temporary and s.confirmed_flush_lsn is not null`,
    )
    if (slot !== undefined) return slot
  }
  throw new Error('nobody reads the log')
}

/** Resolves to whether this backend has gone. */
async function gone({ place }: PostgresScene, { pid }: Slot): Promise<boolean> {
  for (const late = performance.now() + PATIENCE_MS; performance.now() < late; await sleep(50)) {
    const rows = await place.query('select from pg_stat_activity where pid = $1', [pid])
    if (rows.length === 0) return true
  }
  return false
}

async function end(scene: PostgresScene): Promise<Slot> {
  const slot = await slotOf(scene)
  await scene.place.query('select pg_terminate_backend($1)', [slot.pid])
  if (!(await gone(scene, slot))) throw new Error('the connection of the reader was not ended')
  return slot
}

const logCut: Nemesis = onPostgres({
  name: 'log-cut',
  says: 'the WAL sender of the relay that reads the log is terminated',
  touches: 'database',
  needs: 'commit log',
  inject: async (scene) => (await end(scene)).reader,
})

const slotLost: Nemesis = onPostgres({
  name: 'slot-lost',
  says: 'the slot of the relay that reads the log is gone, and a stranger holds its name for seconds',
  touches: 'database',
  needs: 'commit log',
  async inject(scene) {
    const { place, random } = scene
    const { name, reader } = await end(scene)
    // Another relay may be quicker.
    const make = `select pg_create_logical_replication_slot($1, 'pgoutput')
      where not exists (select from pg_replication_slots where slot_name = $1)`
    const made = await place.query(make, [name])
    if (made.length === 0) throw new Error('another relay was quicker')
    try {
      await sleep(upTo(random, 2000, 5000))
    } finally {
      await place.query('select pg_drop_replication_slot($1)', [name])
    }
    return `of ${reader}`
  },
})

/** In segments of the log. */
const KEPT = 3
const BEHIND = 6

/** How far the oracle, or the reader, keeps the server from removing its log: in segments. */
async function behind({ place }: PostgresScene, name: string): Promise<number> {
  const [row] = await place.query<{ segments: number }>(
    `select (pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) / setting::numeric)::float8 as segments
     from pg_replication_slots, pg_settings where slot_name = $1 and pg_settings.name = 'wal_segment_size'`,
    [name],
  )
  return row?.segments ?? Number.NaN
}

/** The oracle must not lose its place as well. */
async function moveOn(scene: PostgresScene): Promise<void> {
  const late = performance.now() + PATIENCE_MS
  while (performance.now() < late && (await behind(scene, SLOT)) > 1) {
    await scene.place.query('checkpoint')
    await scene.place.readOracle()
  }
  if ((await behind(scene, SLOT)) > 1.5) throw new Error('the oracle is too far behind')
}

/** Undefined: there is none. */
async function limit({ place }: PostgresScene, to: string | undefined): Promise<void> {
  const setting = 'max_slot_wal_keep_size'
  await place.query(
    to === undefined ? `alter system reset ${setting}` : `alter system set ${setting} = '${to}'`,
  )
  await place.query('select pg_reload_conf()')
}

/** More of the log than may be kept for a reader, while it stands still. */
async function exceed(scene: PostgresScene, slot: Slot): Promise<void> {
  const { place } = scene
  while ((await behind(scene, slot.name)) < BEHIND) {
    await place.query(`select pg_logical_emit_message(true, 'chaos', 'x')`)
    await place.query('select pg_switch_wal()')
  }
  await moveOn(scene)
  const before = (await place.cluster.log()).length
  const [row] = await place.query<{ bytes: number }>(
    `select setting::int as bytes from pg_settings where name = 'wal_segment_size'`,
  )
  await limit(scene, `${(KEPT * (row?.bytes ?? 0)) >> 20}MB`)
  for (const late = performance.now() + PATIENCE_MS; performance.now() < late; await sleep(100)) {
    await place.query('checkpoint')
    const said = (await place.cluster.log()).slice(before)
    if (/terminating process \d+ to release replication slot/.test(said)) return
  }
  throw new Error('the server did not give up the slot')
}

const logBehind: Nemesis = onPostgres({
  name: 'log-behind',
  says: 'the relay that reads the log stands still (SIGSTOP) until max_slot_wal_keep_size is exceeded, and goes on',
  touches: 'database',
  needs: 'commit log',
  async inject(scene) {
    const { programs, random } = scene
    await moveOn(scene)
    const slot = await slotOf(scene)
    const reader = programs.find(({ name }) => name === slot.reader) as Program
    reader.signal('SIGSTOP')
    try {
      await exceed(scene, slot)
      await sleep(upTo(random, 0, 2000))
    } finally {
      await limit(scene, undefined)
      reader.signal('SIGCONT')
    }
    return slot.reader
  },
})

export const logFaults: readonly Nemesis[] = [logCut, slotLost, logBehind]
