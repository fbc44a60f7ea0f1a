import { existsSync, renameSync, rmSync } from 'node:fs'

/**
 * Keeps a folder that took long to make. Several processes may make the same one at the same time:
 * the first one wins, and what the others made is removed. (Looking before moving is not enough:
 * between the two another one may move its own there.)
 */
export function keepFirst(made: string, kept: string): void {
  try {
    renameSync(made, kept)
  } catch (error) {
    if (!existsSync(kept)) throw error
    rmSync(made, { recursive: true, force: true })
  }
}
