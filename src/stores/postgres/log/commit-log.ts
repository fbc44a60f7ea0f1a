import type { CommitLog, LogCondition, LogReader } from '../../../core/commit-log.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { errorFields } from '../../../core/errors/error-text.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { aborted } from '../../../lib/async/abort.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import type { Clock, Random } from '../../../lib/async/clock.ts'
import type { PostgresPool, PostgresPoolClient } from '../../../sql/postgres/client.ts'
import { sqlState, storeFailure } from '../../../sql/postgres/failure.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import * as statements from './log-statements.ts'
import type { ReplicationClient } from './replication.ts'
import { findings, type LogFacts, meetRequirements, readFacts } from './requirements.ts'
import { createServerTime, type ServerTime } from './server-time.ts'
import { readStream } from './stream.ts'

export interface CommitLogPorts {
  readonly own: Own
  readonly schema: string
  /** Makes a pool with one connection that speaks the protocol of replication. */
  readonly replicationPool: () => PostgresPool
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
}

const RECONNECT = { firstMs: 200, longestMs: 10_000 }
/** While another relay reads. With the time that the server takes to drop the slot, below 5 s. */
const TURN_MS = 1000
/** A dead connection is noticed after two of these, a dead reader after four. */
const HEARTBEAT_MS = 2500
/** The name of the slot is taken, or the slot is in use. */
const TAKEN = new Set(['42710', '55006'])

/** Reads the write-ahead log of PostgreSQL through a temporary slot. See ADR 0230. */
export function postgresCommitLog(ports: CommitLogPorts): CommitLog {
  const { own, schema } = ports
  let slot: string | undefined
  const slotName = async (): Promise<string> =>
    (slot ??= statements.slotOf((await readFacts(own, schema)).database, schema))
  return {
    async prepare() {
      await meetRequirements(own, schema)
    },
    follow: (reader, { signal }) => follow(ports, reader, signal),
    condition: async () => await conditionOf(own, await slotName()),
    examine: async () => findings(await readFacts(own, schema), schema),
  }
}

interface ConditionRow {
  readonly active: boolean
  readonly ready: boolean
  readonly wal_status: string | null
  readonly retained: string | null
}

async function conditionOf(own: Own, slot: string): Promise<LogCondition> {
  const doing = 'asking how far the log is read'
  const { rows } = await own.run<ConditionRow>(doing, statements.condition, [slot], { often: true })
  const [row] = rows
  if (row === undefined || !row.active) return { state: 'off', retainedBytes: 0 }
  const retainedBytes = Number(row.retained ?? 0)
  const state = row.wal_status === 'lost' ? 'off' : row.ready ? 'followed' : 'starting'
  return { state, retainedBytes }
}

async function follow(
  ports: CommitLogPorts,
  reader: LogReader,
  signal: AbortSignal,
): Promise<void> {
  const { schema, logger, clock, random } = ports
  let failures = 0
  let waits = false
  const started = (): void => {
    failures = 0
    waits = false
    logger.info({ schema }, 'postgres: reading the log of commits')
    // What was committed before is found by claims.
    reader.others()
  }
  while (!signal.aborted) {
    try {
      const reading = readOnce(ports, { reader, started }, signal)
      reading.catch(() => {})
      // A stop does not wait for a server that does not answer.
      await Promise.race([reading, aborted(signal)])
    } catch (error) {
      if (signal.aborted) return
      reader.others()
      if (isTaken(error)) {
        if (!waits)
          logger.info({ schema }, 'postgres: another relay reads the log; waiting for a turn')
        waits = true
        await clock.sleep(TURN_MS, signal)
        continue
      }
      failures++
      if (failures === 1)
        logger.warn(
          { schema, ...errorFields(explained(schema, error)) },
          'postgres: the log of commits is not read; trying again, and claiming meanwhile',
        )
      await clock.sleep(backoffMs(RECONNECT, failures, random), signal)
    }
  }
}

/** The server has ended the connection: class 57P. */
function explained(schema: string, error: unknown): MersalError {
  const state = sqlState(error)
  if (state?.startsWith('57P') !== true)
    return storeFailure(schema, 'reading the commit log', error)
  return new MersalError(
    'MERSAL_STORE_FAILED',
    'postgres: the server has ended the connection that reads the commit log. It is being stopped, somebody ended the connection, or the relay was behind by more than max_slot_wal_keep_size: then raise that, or find out what keeps the relay from reading. Nothing is lost: claims take what was not read',
    { cause: error, details: { sqlState: state, refused: false } },
  )
}

const isTaken = (error: unknown): boolean => TAKEN.has(sqlState(error) ?? '')

interface Reading {
  readonly reader: LogReader
  readonly started: () => void
}

/** One connection, from its beginning to its end. */
async function readOnce(
  ports: CommitLogPorts,
  reading: Reading,
  signal: AbortSignal,
): Promise<void> {
  const facts = await meetRequirements(ports.own, ports.schema)
  const pool = ports.replicationPool()
  const over = new AbortController()
  pool.on('error', () => {}) // the client says so as well
  // From its first moment on: the server may end it in the packet that lets it in.
  pool.on('connect', (client: PostgresPoolClient) => client.on('error', () => {}))
  try {
    const time = createServerTime(ports)
    await time.read()
    const client = (await pool.connect()) as unknown as ReplicationClient & Released
    const stop = AbortSignal.any([signal, over.signal])
    try {
      void time.keep(stop)
      await readAs(ports, { ...reading, client, time, facts }, signal)
    } finally {
      client.release(true)
    }
  } finally {
    over.abort()
    await pool.end()
  }
}

interface Released {
  release(broken: true): void
}

interface Session extends Reading {
  readonly client: ReplicationClient & Released
  readonly time: ServerTime
  readonly facts: LogFacts
}

async function readAs(ports: CommitLogPorts, session: Session, signal: AbortSignal): Promise<void> {
  const { schema, clock, own } = ports
  const { client, facts } = session
  const slot = statements.slotOf(facts.database, schema)
  const query = client.query.bind(client) as unknown as (text: string) => Promise<unknown>
  await query(`set wal_sender_timeout = '${4 * HEARTBEAT_MS}ms'`)
  const made = query(statements.createSlot(slot))
  made.catch(() => {})
  await Promise.race([made, aborted(signal)])
  // It may wait for open transactions, and the server would not see that nobody waits any more.
  if (signal.aborted) return void (await own.run('giving up the log', statements.giveUp, [slot]))
  await readStream(
    {
      client,
      start: statements.startReplication(slot, schema),
      reader: session.reader,
      clock,
      serverNow: session.time.now,
      heartbeatMs: HEARTBEAT_MS,
      onStarted: session.started,
    },
    signal,
  )
}
