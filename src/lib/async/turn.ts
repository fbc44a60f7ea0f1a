import { setImmediate } from 'node:timers'

/**
 * Resolves in the next turn of the event loop: when all that is ready now has run. No time goes by
 * for it, so no clock has a part in it.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
