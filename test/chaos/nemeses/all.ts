import type { StoreKind } from '../plan.ts'
import { brokerFaults } from './broker.ts'
import { brokerServerFaults } from './broker-server.ts'
import { clockFaults } from './clocks.ts'
import { databaseFaults } from './database.ts'
import { diskFaults } from './disk.ts'
import type { Nemesis } from './nemesis.ts'
import { mysqlFaults } from './mysql.ts'
import { kafkaFaults } from './kafka.ts'
import { natsFaults } from './nats.ts'
import { linkFaults } from './link.ts'
import { logFaults } from './log.ts'
import { networkFaults } from './network.ts'
import { outageFaults } from './outages.ts'
import { processFaults } from './processes.ts'
import { redisFaults } from './redis.ts'
import { rowFaults } from './rows.ts'
import { versionFaults } from './versions.ts'

export const nemeses: readonly Nemesis[] = [
  ...versionFaults,
  ...processFaults,
  ...clockFaults,
  ...databaseFaults,
  ...mysqlFaults,
  ...diskFaults,
  ...logFaults,
  ...brokerServerFaults,
  ...brokerFaults,
  ...natsFaults,
  ...redisFaults,
  ...kafkaFaults,
  ...networkFaults,
  ...linkFaults,
  ...outageFaults,
  ...rowFaults,
]

/**
 * Those with these names, on this kind of store; throws on a name that does not exist there.
 * `commitLog`: relays read the log.
 */
export function nemesesFor(
  store: StoreKind,
  names?: readonly string[],
  commitLog = false,
): readonly Nemesis[] {
  const here = nemeses.filter(
    ({ on, needs }) => on.includes(store) && (commitLog || needs !== 'commit log'),
  )
  if (names === undefined) return here
  return names.map((name) => {
    const found = here.find((nemesis) => nemesis.name === name)
    if (found === undefined)
      throw new Error(
        `no nemesis '${name}' on ${store}; there are ${here.map((each) => each.name).join(', ')}`,
      )
    return found
  })
}
