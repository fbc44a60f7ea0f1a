/**
 * Full disks. What is committed stays, whoever writes hears of it, and publishing goes on by itself
 * when there is room again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { now, readHistory } from '../history.ts'
import type { Disk } from '../places/disk.ts'
import {
  type Nemesis,
  onPostgres,
  onSqlite,
  type PostgresScene,
  type Scene,
  upTo,
} from './nemesis.ts'

const PATIENCE_MS = 30_000
/** `53100`: PostgreSQL. `SQLITE_FULL`: 13; or a file beside the database could not grow. */
const full = /53100|No space left on device|database or disk is full|disk I\/O error/

/**
 * How many transactions and publishes of the programs failed since then because there was no room.
 * A database whose file has free pages goes on for a while; the queue beside it is full at once.
 */
function refusals({ folder }: Scene, since: number): number {
  const lines = readHistory(folder).filter(
    (line) => line.t > since && (line.op === 'tx' || line.op === 'publish'),
  )
  return lines.filter((line) => 'error' in line && full.test(line.error ?? '')).length
}

/** Waits for a sign, and a while longer, so that everybody meets the fault. */
async function until(sign: () => Promise<boolean> | boolean, more: number): Promise<boolean> {
  for (const late = performance.now() + PATIENCE_MS; performance.now() < late; await sleep(100)) {
    if (!(await sign())) continue
    await sleep(more)
    return true
  }
  return false
}

const owned = (disk: Disk | undefined): Disk => {
  if (disk === undefined) throw new Error('the database has no disk of its own')
  return disk
}

/** The server may have given up, and then somebody has to start it; as a supervisor would. */
async function revive({ place }: PostgresScene): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    if (!(await place.cluster.running())) await place.cluster.start()
    const answers = await place.query('select 1').then(
      () => true,
      () => false,
    )
    if (answers) return
    if (tries > 50) throw new Error('the server did not come back')
    await sleep(200)
  }
}

const dataFull = onPostgres({
  name: 'data-full',
  says: 'the disk of the data of PostgreSQL is full; it has room again after a while',
  touches: 'database',
  needs: 'own disks',
  async inject(scene) {
    const { place, random } = scene
    const disk = owned(place.disks?.data)
    const since = now()
    await disk.fill(0)
    const landed = await until(() => refusals(scene, since) > 0, upTo(random, 1000, 4000))
    await disk.free()
    await revive(scene)
    if (!landed) throw new Error('nobody noticed the full disk')
    return `${refusals(scene, since)} transactions and publishes refused`
  },
})

const walFull = onPostgres({
  name: 'wal-full',
  says: 'the disk of the log of PostgreSQL is full: the server ends itself, and cannot start until there is room again',
  touches: 'database',
  needs: 'own disks',
  async inject(scene) {
    const { place, random } = scene
    const disk = owned(place.disks?.wal)
    const before = (await place.cluster.log()).length
    await disk.fill(0)
    const panicked = async (): Promise<boolean> => {
      // There may be room in files that exist; this goes on to the next one.
      const next = place
        .query(`select pg_switch_wal() from pg_logical_emit_message(true, 'chaos', 'x')`)
        .catch(() => {})
      await Promise.race([next, sleep(500)])
      return /PANIC:.*No space left on device/.test((await place.cluster.log()).slice(before))
    }
    const landed = await until(panicked, upTo(random, 0, 3000))
    await disk.free()
    await revive(scene)
    if (!landed) throw new Error('the server had room for its log')
    return 'the server ended itself'
  },
})

const diskFull = onSqlite({
  name: 'disk-full',
  says: 'the disk of the database and of the queue is full; it has room again after a while',
  touches: 'database',
  needs: 'own disks',
  async inject(scene) {
    const { place, random } = scene
    const disk = owned(place.disk)
    const since = now()
    await disk.fill(0)
    const landed = await until(() => refusals(scene, since) > 0, upTo(random, 1000, 4000))
    await disk.free()
    if (!landed) throw new Error('nobody noticed the full disk')
    return `${refusals(scene, since)} transactions and publishes refused`
  },
})

export const diskFaults: readonly Nemesis[] = [dataFull, walFull, diskFull]
