import { MersalError } from '../../../core/errors/errors.ts'
import type { Handle } from './database.ts'
import { isDiskFault, storeError } from './failure.ts'
import { setSynchronous, withoutWaiting } from './waiting.ts'

/** Write-ahead log, so that readers never wait. `name` begins the texts of errors. */
export function setUp(name: string, handle: Handle, synchronous: 'full' | 'normal'): void {
  withoutWaiting(handle, () => {
    const modeOf = (sql: string): string | undefined =>
      handle.get<{ journal_mode: string }>(sql)?.journal_mode
    const fits = (mode: string | undefined): boolean => mode === 'wal' || mode === 'memory'
    if (!fits(modeOf('PRAGMA journal_mode')) && !fits(modeOf('PRAGMA journal_mode = WAL'))) {
      throw new MersalError(
        'MERSAL_STORE_UNSAFE',
        `${name}: the database cannot use a write-ahead log here; use a local file system`,
      )
    }
    setSynchronous(handle, synchronous)
  })
}

/** Throws `MERSAL_ROLLED_BACK`, `MERSAL_COMMIT_UNKNOWN`, or what SQLite reported. */
export function commit(name: string, handle: Handle): void {
  if (!handle.inTransaction) {
    throw new MersalError(
      'MERSAL_ROLLED_BACK',
      `${name}: the transaction had already ended when the unit of work was to be committed: by a ROLLBACK or COMMIT inside it, or by an error of SQLite such as a full disk`,
    )
  }
  try {
    handle.exec('COMMIT')
  } catch (cause) {
    if (!isDiskFault(cause)) throw storeError(`${name}: committing`, cause)
    const text = `${name}: the disk failed during the commit; it may or may not have happened`
    throw new MersalError('MERSAL_COMMIT_UNKNOWN', text, { cause })
  }
}
