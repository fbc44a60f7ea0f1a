/**
 * The disk as a loss of power would leave it: what has been flushed, and by chance some of what has
 * not. It watches `fdatasync`, by which the logs of SQLite come to the disk here.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join } from 'node:path'

type Callback = (error: NodeJS.ErrnoException | null) => void

export interface WatchedDisk extends Disposable {
  /** Paths that were flushed, one for each flush that went well. */
  readonly flushed: string[]
  /** Folders that were flushed. */
  readonly folders: string[]
  /** From now on flushes wait. Returns how to let those that wait go on. */
  hold(): () => void
  /** The next flush reports this, and flushes nothing. */
  failNext(code: 'EIO' | 'ENOSPC'): void
  /** A deliberate bug: flushes are reported as done before they begin. */
  lie(): void
  /** What a flush of this file that ended last has brought to the disk. */
  contentOf(path: string): Buffer
  /** SQLite has flushed it by itself. */
  flushedBySqlite(path: string): void
}

const pathOf = (fd: number): string => fs.readlinkSync(`/proc/self/fd/${fd}`)

/** Only on Linux, which tells the path of a descriptor. */
export function watchDisk(): WatchedDisk {
  const own = { fdatasync: fs.fdatasync, fsync: fs.fsync }
  const content = new Map<string, { readonly bytes: Buffer; readonly since: number }>()
  /** Flushes in the order of their beginnings. */
  let begun = 0
  const keep = (path: string, bytes: Buffer, since: number): void => {
    if (since > (content.get(path)?.since ?? 0)) content.set(path, { bytes, since })
  }
  const waiting: (() => void)[] = []
  let [held, lies] = [false, false]
  let fails: string | undefined
  const disk: WatchedDisk = {
    flushed: [],
    folders: [],
    hold() {
      held = true
      return () => {
        held = false
        for (const go of waiting.splice(0)) go()
      }
    },
    failNext: (code) => void (fails = code),
    lie: () => void (lies = true),
    contentOf: (path) => content.get(path)?.bytes ?? Buffer.alloc(0),
    flushedBySqlite: (path) => keep(path, fs.readFileSync(path), ++begun),
    [Symbol.dispose]() {
      Object.assign(fs, own)
      syncBuiltinESMExports()
    },
  }
  const flush = (fd: number, callback: Callback): void => {
    if (lies) return void setImmediate(callback, null)
    if (fails !== undefined) {
      const error = Object.assign(new Error(`${fails}: fdatasync`), { code: fails })
      fails = undefined
      return void setImmediate(callback, error)
    }
    const path = pathOf(fd)
    const bytes = fs.readFileSync(path)
    const since = ++begun
    own.fdatasync(fd, (error) => {
      if (error === null) {
        keep(path, bytes, since)
        disk.flushed.push(path)
      }
      callback(error)
    })
  }
  Object.assign(fs, {
    fdatasync: (fd: number, callback: Callback): void => {
      if (held) waiting.push(() => flush(fd, callback))
      else flush(fd, callback)
    },
    fsync: (fd: number, callback: Callback): void => {
      disk.folders.push(pathOf(fd))
      own.fsync(fd, callback)
    },
  })
  syncBuiltinESMExports()
  return disk
}

const BLOCK = 4096

/**
 * What a disk holds of a file after the power has failed: every block that was changed since its
 * last flush is old or new, as `keeps` says; and the file may have its old length.
 */
export function afterPowerLoss(old: Buffer, now: Buffer, keeps: () => boolean): Buffer {
  const length = keeps() ? now.length : Math.min(now.length, old.length)
  const result = Buffer.alloc(length)
  for (let at = 0; at < length; at += BLOCK) {
    const [before, after] = [old, now].map((each) => each.subarray(at, at + BLOCK)) as [
      Buffer,
      Buffer,
    ]
    const part = before.equals(after) || keeps() ? after : before
    part.copy(result, at, 0, Math.min(part.length, length - at))
  }
  return result
}

/**
 * Copies database files as a loss of power at this very moment would leave them; the log of readers
 * and locks (`-shm`) does not outlive it. Call it in one turn for all files.
 */
export function copyAfterPowerLoss(
  paths: readonly string[],
  folder: string,
  { contentOf }: Pick<WatchedDisk, 'contentOf'>,
  keeps: () => boolean,
): void {
  for (const path of paths) {
    fs.copyFileSync(path, join(folder, basename(path)))
    const log = `${path}-wal`
    if (!fs.existsSync(log)) continue
    const left = afterPowerLoss(contentOf(log), fs.readFileSync(log), keeps)
    fs.writeFileSync(join(folder, basename(log)), left)
  }
}
