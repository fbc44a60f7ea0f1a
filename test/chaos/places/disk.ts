/**
 * A disk of its own for a database, that can be full: a file system in memory whose size is changed
 * while it is in use.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { errorText } from '../history.ts'

const run = promisify(execFile)
const MIB = 2 ** 20

export interface Disk extends AsyncDisposable {
  readonly folder: string
  /** From now on it has room for this number of bytes more, and then none. */
  fill(rest: number): Promise<void>
  free(): Promise<void>
}

/** Throws where file systems may not be mounted. */
export async function openDisk(name: string, sizeMiB: number): Promise<Disk> {
  const folder = await mkdtemp(join(tmpdir(), `mersal-chaos-${name}-`))
  const options = (bytes: number): string => `size=${Math.ceil(bytes / 4096) * 4096},mode=0755`
  try {
    await run('mount', ['-t', 'tmpfs', '-o', options(sizeMiB * MIB), 'mersal-chaos', folder])
  } catch (error) {
    await rm(folder, { recursive: true })
    throw new Error(
      `a disk that can be full needs the right to mount one (root): ${errorText(error)}`,
      { cause: error },
    )
  }
  const resize = async (bytes: number): Promise<void> => {
    await run('mount', ['-o', `remount,${options(bytes)}`, folder])
  }
  return {
    folder,
    async fill(rest) {
      // Between the look and the change somebody may write; then the change is refused.
      for (let tries = 0; ; tries += 1) {
        const { bsize, blocks, bfree } = await statfs(folder)
        try {
          return await resize((blocks - bfree) * bsize + rest)
        } catch (error) {
          if (tries >= 20) throw error
        }
      }
    },
    free: () => resize(sizeMiB * MIB),
    async [Symbol.asyncDispose]() {
      await run('umount', ['--lazy', folder])
      await rm(folder, { recursive: true })
    },
  }
}
