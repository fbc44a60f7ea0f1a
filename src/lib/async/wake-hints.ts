import type { Clock } from './clock.ts'

/**
 * Milliseconds after a write at which its transaction has probably committed. The poll timer is the
 * net.
 */
const delays = [5, 20, 75, 300]

/**
 * Hints for rows in transactions whose commit we do not see: each call makes `wake` be called a
 * few times soon after. Calls that come close together share the hints.
 */
export function wakeHints(clock: Clock, wake: () => void, signal: AbortSignal): () => void {
  let next = delays.length
  let running = false
  const run = async (): Promise<void> => {
    running = true
    while (next < delays.length && !signal.aborted) {
      await clock.sleep(delays[next++] ?? 0, signal)
      wake()
    }
    running = false
  }
  return () => {
    next = 0
    if (!running) void run()
  }
}
