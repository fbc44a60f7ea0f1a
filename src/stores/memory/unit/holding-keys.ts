import { MersalError } from '../../../core/errors/errors.ts'
import type { DatabaseState } from '../database.ts'
import { lockOfKey } from '../save.ts'

/** Runs the work while no transaction holds these partition keys, as any writer would. */
export async function holdingKeys<Result>(
  database: DatabaseState,
  keys: Iterable<string | undefined>,
  work: () => Result,
): Promise<Result> {
  const owner = {}
  const given = [...new Set(keys)].filter((key) => key !== undefined)
  const names = given.map(lockOfKey).sort()
  try {
    for (const name of names) {
      if (await database.locks.acquire(owner, name, database.lockWaitMs)) continue
      throw new MersalError(
        'MERSAL_STORE_BUSY',
        `a transaction holds the key of a message for more than ${database.lockWaitMs} ms`,
      )
    }
    return work()
  } finally {
    for (const name of names) database.locks.release(owner, name)
  }
}
