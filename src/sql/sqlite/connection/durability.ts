import { errorFields } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Handle } from './database.ts'
import { isDiskFault, storeError } from './failure.ts'
import { ForeignTransaction, setSynchronous, withoutWaiting } from './waiting.ts'
import type { WalFlush } from './wal-flush.ts'
import type { ConnectionSettings } from '../options.ts'

/**
 * A log that one large transaction, or a reader that would not end, has made larger is cut to this
 * size when it begins anew. Without a limit it keeps its largest size for ever.
 */
const LOG_BYTES = 64 * 1024 * 1024

export interface SetUp {
  readonly synchronous: 'full' | 'normal'
  /** Nobody else uses the handle. */
  readonly own: boolean
}

/** Write-ahead log, so that readers never wait. `name` begins the texts of errors. */
export function setUp(name: string, handle: Handle, { synchronous, own }: SetUp): void {
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
    if (own) limitLog(handle)
  })
}

/** Whoever has opened the connection for us may have chosen a limit. */
function limitLog(handle: Handle): void {
  const sql = 'PRAGMA journal_size_limit'
  const limit = handle.get<{ journal_size_limit: number }>(sql)?.journal_size_limit ?? -1
  if (limit < 0) handle.exec(`${sql} = ${LOG_BYTES}`)
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

/**
 * How the commits of one connection come to the disk: SQLite flushes each of them before anybody
 * sees it, or the log is flushed afterwards.
 */
export class Flushing {
  readonly #name: string
  readonly #settings: ConnectionSettings
  #log: WalFlush | undefined
  /** Undefined where SQLite flushes by itself. */
  #wal: WalFlush | undefined

  constructor(name: string, settings: ConnectionSettings) {
    this.#name = name
    this.#settings = settings
  }

  /** The database is being opened. A log in memory has no disk to go to. */
  attach({ wal }: { readonly wal: WalFlush | undefined }): void {
    this.#log = wal
    if (this.#settings.flush === 'before-visible') return
    this.#wal = wal
    wal?.retain()
  }

  /** The database has been closed. What was put off is flushed. */
  async detach(): Promise<void> {
    await this.#wal?.release()
    this.#wal = undefined
  }

  /** What SQLite is told. */
  get level(): 'full' | 'normal' {
    return this.#wal === undefined ? this.#settings.synchronous : 'normal'
  }

  /** Whether a unit on this handle is on the disk before anybody makes something of it. */
  isDurable(handle: Handle, own: boolean): boolean {
    if (own && this.#wal !== undefined) return this.#settings.synchronous === 'full'
    return (handle.get<{ synchronous: number }>('PRAGMA synchronous')?.synchronous ?? 0) >= 2
  }

  /**
   * Resolves when what has been committed is on the disk; undefined if it is. Rejects with
   * `MERSAL_COMMIT_UNKNOWN`: others may see it, and a loss of power may take it back.
   */
  done(): Promise<void> | undefined {
    return this.#wal?.done().catch((cause: unknown) => {
      const text = `${this.#name}: the disk failed while a commit was brought to it; it may or may not last`
      throw new MersalError('MERSAL_COMMIT_UNKNOWN', text, { cause })
    })
  }

  /** Nobody waits for what has been committed. */
  soon(): void {
    this.#wal?.soon()
  }

  /**
   * Before each transaction. `level`: where SQLite flushes. Once a flush has failed, a later one
   * proves nothing, whoever does it: what stands in the log behind a gap would be lost with it. So everything is
   * copied from the log into the database, which is flushed, and the log begins anew. Until that
   * has gone well, nothing is written.
   */
  begin(handle: Handle, level: 'full' | 'normal'): void {
    this.#renewLog(handle)
    if (this.#wal === undefined && this.#settings.synchronous === 'normal')
      setSynchronous(handle, level)
  }

  #renewLog(handle: Handle): void {
    const failure = this.#log?.failure
    if (failure === undefined) return
    const result = handle.get<{ busy: number }>('PRAGMA wal_checkpoint(TRUNCATE)')
    // Somebody still reads from it, or copies it himself.
    if (result?.busy !== 0) throw new ForeignTransaction()
    this.#log?.renewed()
    const text = `${this.#name}: a flush had failed; all that was in the log has been copied into the database, and is on the disk now`
    this.#settings.logger.warn(errorFields(failure.cause), text)
  }
}
