import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const PATIENCE_MS = 10_000

/**
 * Resolves when every thread of this process stands still after a SIGSTOP. On a busy machine the
 * others go on until the one that takes the signal gets its turn. Without `/proc` nobody can tell.
 */
export async function stoodStill(pid: number): Promise<void> {
  const folder = `/proc/${pid}/task`
  if (!existsSync(folder)) return
  const until = performance.now() + PATIENCE_MS
  while (readdirSync(folder).some((thread) => !isStopped(`${folder}/${thread}/stat`))) {
    if (performance.now() > until) throw new Error(`process ${pid} does not stop`)
    await sleep(1)
  }
}

/** Its state follows the name, which is in parentheses: proc(5). A thread that has gone is still. */
function isStopped(stat: string): boolean {
  try {
    const text = readFileSync(stat, 'utf8')
    return ['T', 'Z', 'X'].includes(text.charAt(text.lastIndexOf(')') + 2))
  } catch {
    return true
  }
}
