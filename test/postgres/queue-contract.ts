import { silentLogger } from '../../src/core/telemetry.ts'
import { postgresQueue } from '../../src/postgres.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { databaseQueueHarness } from '../contract/queue-in-database.ts'
import { transportSuite } from '../contract/transport-suite.ts'
import type { ServerUnderTest } from './contract-suite.ts'
import { testDatabase } from './database.ts'

async function harness(url: string | undefined): Promise<TransportHarness> {
  const database = await testDatabase(url)
  const { pool, schema } = database
  const expire = `update ${schema}.queue_message set visible_at = now() where token is not null`
  const settings = { pool, schema, maxMessageBytes: 2_000_000, logger: silentLogger }
  return databaseQueueHarness(database, expire, () => postgresQueue(settings))
}

/** The contract suite of a transport, for the queue on one server. */
export function queueContract(name: string, { present, url }: ServerUnderTest): void {
  transportSuite(name, () => harness(url?.()), present)
}
