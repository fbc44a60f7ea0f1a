/** What has been flushed of the files of a run, and what is left of them when the power fails. */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join } from 'node:path'
import { afterPowerLoss } from '../../stores/sqlite/disk.ts'

type Callback = (error: NodeJS.ErrnoException | null) => void

/**
 * Keeps a copy of each log as it was when its last flush began, in files that tell the time of
 * that. `lies`: a deliberate bug, a flush is reported as done and never happens.
 */
export function noteFlushes(folder: string, { lies }: { readonly lies: boolean }): void {
  const { fdatasync } = fs
  Object.assign(fs, {
    fdatasync: (fd: number, callback: Callback): void => {
      if (lies) return void setImmediate(callback, null)
      const path = fs.readlinkSync(`/proc/self/fd/${fd}`)
      const began = process.hrtime.bigint()
      const bytes = fs.readFileSync(path)
      fdatasync(fd, (error) => {
        if (error === null) {
          const copy = join(folder, `${process.pid}.new`)
          fs.writeFileSync(copy, bytes)
          fs.renameSync(copy, join(folder, `${basename(path)} ${began}`))
        }
        callback(error)
      })
    },
  })
  syncBuiltinESMExports()
}

/** Of all processes: the copy whose flush began last. */
function flushedOf(folder: string, log: string): Buffer {
  const began = fs
    .readdirSync(folder)
    .filter((name) => name.startsWith(`${log} `))
    .map((name) => BigInt(name.slice(log.length + 1)))
  const last = began.reduce((left, right) => (left > right ? left : right), 0n)
  return last === 0n ? Buffer.alloc(0) : fs.readFileSync(join(folder, `${log} ${last}`))
}

/** Nobody has the files open any more. What readers and writers shared in memory is gone. */
export function losePower(
  folder: string,
  files: readonly string[],
  flushes: string,
  keeps: () => boolean,
): void {
  for (const file of files) {
    const log = join(folder, `${file}-wal`)
    fs.rmSync(join(folder, `${file}-shm`), { force: true })
    if (!fs.existsSync(log)) continue
    const left = afterPowerLoss(flushedOf(flushes, basename(log)), fs.readFileSync(log), keeps)
    fs.writeFileSync(log, left)
  }
}

/** What a disk does with what it was not told to keep: nothing of it, all, or by chance. */
export function keeping(random: () => number): () => boolean {
  const share = [0, 0.2, 0.5, 0.8, 1][Math.floor(random() * 5)] ?? 0
  return () => random() < share
}
