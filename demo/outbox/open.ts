import type { MersalOptions, ReceiveOptions } from '../../src/index.ts'
import { crashPoints } from '../../src/testing/crash-points.ts'
import { plan, stopHere } from '../child.ts'
import { appName, openTransport } from '../child-broker.ts'
import type { AppDatabase } from '../child-database.ts'
import { type AppName, HOLD_MS } from '../plan.ts'

/**
 * On a server that is killed and started again, the deliveries have to last longer than it is away.
 */
const receive: Readonly<Record<typeof plan.database.kind, ReceiveOptions>> = {
  sqlite: { backoff: { firstMs: 100, longestMs: 400 } },
  postgres: { backoff: { firstMs: 200, longestMs: 1500 }, maxDeliveries: 9 },
}

/** Store, broker and short times for one app of the demo. */
export function parts<Tx>(
  name: AppName,
  database: AppDatabase<Tx>,
): Pick<MersalOptions<Tx>, 'name' | 'store' | 'transport' | 'outbox' | 'receive' | 'logger'> {
  return {
    name: appName(name),
    ...crashPoints({ store: database.openStore(), transport: openTransport(), at: stopHere }),
    outbox: { relay: { claimMs: HOLD_MS, expressGraceMs: HOLD_MS, pollIntervalMs: 100 } },
    receive: receive[plan.database.kind],
    // Faults are the subject here: the view shows them.
    logger: false,
  }
}
