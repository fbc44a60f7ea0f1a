import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import type { MersalOptions } from '../../src/index.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { crashPoints } from '../../src/testing/crash-points.ts'
import { plan, stopHere } from '../child.ts'
import { HOLD_MS } from '../plan.ts'

/** Store, broker and short times for one app of the demo. */
export function parts(file: string): Pick<MersalOptions<DatabaseSync>, 'store' | 'transport' | 'outbox' | 'receive' | 'logger'> {
  const store = sqlite({ path: join(plan.folder, file) })
  const transport = sqliteQueue({ path: join(plan.folder, 'broker.db'), visibilityMs: HOLD_MS, pollIntervalMs: 50 })
  return {
    ...crashPoints({ store, transport, at: stopHere }),
    outbox: { relay: { claimMs: HOLD_MS, expressGraceMs: HOLD_MS, pollIntervalMs: 100 } },
    receive: { backoff: { firstMs: 100, longestMs: 400 } },
    // Faults are the subject here: the view shows them.
    logger: false,
  }
}
