import { systemClock } from '../../../lib/async/clock.ts'
import type { Connection } from './connection.ts'
import type { Topic } from './file-lock.ts'

/**
 * How often a commit of another connection is looked for, in milliseconds; one look takes
 * microseconds.
 */
const LOOK_MS = 25

/**
 * Calls `changed` after commits that may concern the topic: those of this process at once, those of
 * others when `PRAGMA data_version` changes
 * (https://www.sqlite.org/pragma.html#pragma_data_version). Always in real time, since other
 * processes run in it. Resolves once the signal has aborted.
 */
export async function watch(
  connection: Connection,
  topic: Topic,
  changed: () => void,
  signal: AbortSignal,
): Promise<void> {
  const lock = await connection.open()
  const stop = lock.listen(topic, changed)
  try {
    let last: number | undefined
    while (!signal.aborted) {
      connection.announceEnded()
      const version = connection.peek(
        (handle) => handle.get<{ data_version: number }>('PRAGMA data_version')?.data_version,
      )
      if (version !== undefined && version !== last) {
        if (last !== undefined) changed()
        last = version
      }
      await systemClock.sleep(LOOK_MS, signal)
    }
  } finally {
    stop()
  }
}
