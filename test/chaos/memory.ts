/** Samples of the memory of a process, for the history. */
import { setImmediate } from 'node:timers/promises'
import type { History } from './history.ts'

const RSS_EVERY_MS = 1000
const LIVE_EVERY_MS = 5000

declare const gc: (() => void) | undefined

/** Resident memory every second; what is left after a full collection every five. */
export function watchMemory(history: History): void {
  const resident = (): void =>
    history.note({ op: 'rss', phase: 'ok', bytes: process.memoryUsage.rss(), wall: Date.now() })
  const live = async (): Promise<void> => {
    gc?.()
    // What lies outside of the heap is let go in tasks after a collection, and by the next one.
    await setImmediate()
    gc?.()
    await setImmediate()
    const { heapUsed, external, arrayBuffers } = process.memoryUsage()
    history.note({ op: 'live', phase: 'ok', heap: heapUsed, external, buffers: arrayBuffers })
  }
  setInterval(resident, RSS_EVERY_MS).unref()
  if (gc !== undefined) setInterval(() => void live(), LIVE_EVERY_MS).unref()
}
