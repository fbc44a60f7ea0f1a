import { closeSync, fdatasync, fstatSync, fsync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** The write-ahead log as it was opened: another file may have taken its name since. */
interface OpenLog {
  readonly fd: number
  readonly identity: string
  /** Until then a loss of power may take the name of a new log with it. */
  folderSynced: boolean
}

/** What nobody waits for is on the disk this long after its commit, in milliseconds. */
const SOON_MS = 100

/** The folder cannot be opened for reading, or its file system has nothing to flush for it. */
const NO_FOLDER_SYNC: ReadonlySet<string | undefined> = new Set([
  'EACCES',
  'EPERM',
  'EINVAL',
  'ENOTSUP',
  'EISDIR',
])

/**
 * Brings the write-ahead log of one database file to the disk, in a thread of libuv, while the next
 * transactions go on. All who wait share one flush.
 *
 * A commit with `synchronous = NORMAL` is in the log, and no more. What SQLite does by itself keeps
 * the order: it flushes the log before it copies from it into the database, and the database before
 * it begins the log anew (https://www.sqlite.org/wal.html). So whatever was committed before a
 * flush began is on the disk when it has ended, wherever it lies by then, and whoever wrote it.
 *
 * Only the log may be opened here: closing any descriptor of the database itself would drop the
 * locks of SQLite (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
export class WalFlush {
  readonly #path: string
  #log: OpenLog | undefined
  #users = 0
  #waiting: PromiseWithResolvers<void> | undefined
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #failure: { readonly cause: unknown } | undefined

  /** `place`: path of the database file. */
  constructor(place: string) {
    this.#path = `${place}-wal`
  }

  /**
   * Why the last flush failed. From then on nothing in the log can be called durable: the kernel
   * may have forgotten what it could not write, and a later flush would not tell.
   */
  get failure(): { readonly cause: unknown } | undefined {
    return this.#failure
  }

  /** The log has been copied into the database, and begins anew. */
  renewed(): void {
    this.#failure = undefined
  }

  /** Somebody has opened the database, and will commit to it. */
  retain(): void {
    this.#users += 1
  }

  /** Whoever has opened the database has closed it. Flushes what was put off. */
  async release(): Promise<void> {
    // `failure` keeps what goes wrong for whoever writes next.
    if (this.#timer !== undefined) await this.done().catch(() => {})
    this.#users -= 1
    await this.#running
    if (this.#running === undefined) this.#closeUnused()
  }

  /**
   * Resolves when everything that has been committed to the file before this call is on the disk.
   * Rejects with what the file system reported.
   */
  done(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { promise } = (this.#waiting ??= Promise.withResolvers())
    this.#running ??= this.#run()
    return promise
  }

  /** Nobody waits for what has been committed now; it goes along with the next flush. */
  soon(): void {
    if (this.#timer !== undefined || this.#waiting !== undefined) return
    // As in `release`.
    this.#timer = setTimeout(() => void this.done().catch(() => {}), SOON_MS)
    this.#timer.unref()
  }

  async #run(): Promise<void> {
    // Whoever commits in this very turn comes along.
    await Promise.resolve()
    for (let group = this.#next(); group !== undefined; group = this.#next()) {
      try {
        if (this.#failure === undefined) await this.#flush()
      } catch (cause) {
        this.#failure ??= { cause }
      }
      if (this.#failure === undefined) group.resolve()
      else group.reject(this.#failure.cause)
    }
    this.#running = undefined
    this.#closeUnused()
  }

  #closeUnused(): void {
    if (this.#users === 0) this.#closeLog()
  }

  #next(): PromiseWithResolvers<void> | undefined {
    const group = this.#waiting
    this.#waiting = undefined
    return group
  }

  async #flush(): Promise<void> {
    const log = this.#present()
    // Whoever removed the log has copied and flushed everything that was in it.
    if (log === undefined) return
    await flushed(log.fd, fdatasync)
    if (!log.folderSynced) await syncFolder(dirname(this.#path))
    log.folderSynced = true
  }

  /**
   * The log that has the name now. It stays open between flushes, since the kernel tells of a
   * failure to write once to each descriptor that was open at the time.
   */
  #present(): OpenLog | undefined {
    const found = statSync(this.#path, { bigint: true, throwIfNoEntry: false })
    if (found !== undefined && this.#log?.identity === identityOf(found)) return this.#log
    this.#closeLog()
    if (found === undefined) return undefined
    const fd = openSync(this.#path, 'r+')
    const identity = identityOf(fstatSync(fd, { bigint: true }))
    return (this.#log = { fd, identity, folderSynced: false })
  }

  #closeLog(): void {
    const log = this.#log
    this.#log = undefined
    if (log !== undefined) closeSync(log.fd)
  }
}

/** While a descriptor is open, no other file gets its number. */
const identityOf = ({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string =>
  `${dev} ${ino}`

type Sync = (fd: number, callback: (error: NodeJS.ErrnoException | null) => void) => void

const flushed = (fd: number, sync: Sync): Promise<void> =>
  new Promise((resolve, reject) =>
    sync(fd, (error) => (error === null ? resolve() : reject(error))),
  )

/** SQLite does it only in the process that has made the file, when that flushes it. */
async function syncFolder(path: string): Promise<void> {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    await flushed(fd, fsync)
  } catch (error) {
    if (!NO_FOLDER_SYNC.has((error as NodeJS.ErrnoException).code)) throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
