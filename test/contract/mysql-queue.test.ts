import { silentLogger } from '../../src/core/telemetry.ts'
import { mysqlQueue } from '../../src/mysql.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { serverAnswers, testDatabase } from '../mysql/server.ts'
import { databaseQueueHarness } from './queue-in-database.ts'
import { transportSuite } from './transport-suite.ts'

const EXPIRE =
  'update mersal_queue_message set visible_at = utc_timestamp(6) where token is not null'

async function harness(): Promise<TransportHarness> {
  const database = await testDatabase()
  const settings = { pool: database.pool, maxMessageBytes: 2_000_000, logger: silentLogger }
  return databaseQueueHarness(database, EXPIRE, () => mysqlQueue(settings))
}

transportSuite('MySQL queue', harness, await serverAnswers())
