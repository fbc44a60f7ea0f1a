import type { Finding } from '../../core/operations.ts'
import { STEADY_MS } from '../../core/storage-clock.ts'
import { newest } from '../../sql/shared/migrations.ts'
import {
  LONGEST_CLAIM_MS,
  LONGEST_RETRY_MS,
  type Waits,
  waitsFinding,
} from '../../sql/shared/waits.ts'
import { lateWaits } from './clock.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { storeError } from '../../sql/sqlite/connection/failure.ts'
import { readBeside } from '../../sql/sqlite/connection/schema-control.ts'
import { currentVersion } from '../../sql/sqlite/migrate.ts'
import { NEVER, storeTables } from './schema.ts'

/** Whether the file is one that this store can work on. */
export async function examine({ settings }: Connection): Promise<readonly Finding[]> {
  try {
    const found = readBeside(settings, (handle) => look(handle, settings.clock.now()))
    if (found !== undefined) return found
  } catch (error) {
    throw storeError('sqlite: examining the database', error)
  }
  return [
    {
      level: 'warning',
      subject: 'sqlite file',
      text: 'there is no file yet',
      remedy: "run 'mersal migrate', in the folder in which the apps run",
    },
  ]
}

function look(handle: Handle, now: number): readonly Finding[] {
  return [
    library(handle),
    journal(handle),
    writable(handle),
    sound(handle),
    ...(currentVersion(handle, storeTables) === newest(storeTables) ? [waits(handle, now)] : []),
  ]
}

/** Messages that a clock which was set back holds up. */
function waits(handle: Handle, now: number): Finding {
  const longest = { claimMs: LONGEST_CLAIM_MS, retryMs: LONGEST_RETRY_MS }
  const given = { now, latest: now + STEADY_MS, ...longest }
  const found = handle.get<Waits>(lateWaits, given) ?? { late: 0, ahead: 0 }
  const soon = 'unixepoch() * 1000'
  const inHand = '(token IS NOT NULL OR attempts <> 0)'
  const far = `visible_at > ${soon} + 3600000 AND visible_at < ${NEVER}`
  const set = `UPDATE mersal_outbox SET visible_at = ${soon} WHERE ${inHand} AND ${far}`
  return waitsFinding('sqlite', found, set)
}

function library(handle: Handle): Finding {
  const version =
    handle.get<{ version: string }>('SELECT sqlite_version() AS version')?.version ?? '?'
  return { level: 'ok', subject: 'sqlite version', text: `${version} in ${handle.library}` }
}

function journal(handle: Handle): Finding {
  const mode = handle.get<{ journal_mode: string }>('PRAGMA journal_mode')?.journal_mode ?? '?'
  if (mode === 'wal' || mode === 'memory')
    return { level: 'ok', subject: 'sqlite journal', text: mode }
  return {
    level: 'warning',
    subject: 'sqlite journal',
    text: `${mode}; the store turns on the write-ahead log when it opens the file`,
    remedy: 'nothing, if the file is on a local disk',
  }
}

function writable(handle: Handle): Finding {
  if (handle.inTransaction)
    return { level: 'ok', subject: 'sqlite writes', text: 'a transaction is open' }
  try {
    handle.exec('BEGIN IMMEDIATE')
    handle.exec('ROLLBACK')
    return { level: 'ok', subject: 'sqlite writes', text: 'the file can be written' }
  } catch (error) {
    const { message } = storeError('writing', error)
    return {
      level: 'fault',
      subject: 'sqlite writes',
      text: message,
      remedy:
        'give this user the right to write the file and its folder; end a program that holds a transaction open',
    }
  }
}

function sound(handle: Handle): Finding {
  const answer = Object.values(
    handle.get<Record<string, unknown>>('PRAGMA quick_check(1)') ?? {},
  )[0]
  if (answer === 'ok')
    return { level: 'ok', subject: 'sqlite file', text: 'quick_check finds nothing' }
  return {
    level: 'fault',
    subject: 'sqlite file',
    text: `damaged: ${String(answer).slice(0, 200)}`,
    remedy:
      "stop everything, keep a copy, restore a backup or rescue what is left with '.recover' of the sqlite3 shell",
  }
}
