import { MersalError } from '../../core/errors/errors.ts'
import { onlyRow, type Own } from './own.ts'

/**
 * What differs between MariaDB and MySQL. The parts for MySQL are written after its manual and were
 * never run: Mersal is tested with MariaDB alone.
 */
export interface Server {
  readonly kind: 'MariaDB' | 'MySQL'
  /** A condition: the statement runs in a transaction that somebody has begun. */
  readonly inTransaction: string
  /**
   * An expression: a text that is another one after a transaction of this connection has begun or
   * ended, or was rolled back to a savepoint.
   */
  readonly sameTransaction: string
  /** The same, whatever is done with savepoints. */
  readonly sameUnit: string
  /** Before a statement: it fails at once where it would wait for a lock. MySQL has no such thing. */
  readonly failsAtOnce: string | undefined
}

const COUNTERS = [
  'COM_BEGIN',
  'COM_COMMIT',
  'COM_ROLLBACK',
  'COM_ROLLBACK_TO_SAVEPOINT',
  'COM_XA_START',
  'COM_XA_COMMIT',
  'COM_XA_ROLLBACK',
]

/** Whatever begins or ends a transaction, also without a word. Temporary tables do not. */
const ENDING =
  '^COM_(BEGIN$|COMMIT$|ROLLBACK$|XA_|ALTER_|ANALYZE|BACKUP|CHECK$|CREATE_|DROP_|FLUSH|GRANT|INSTALL|LOCK_|OPTIMIZE|RENAME_|REPAIR|RESET|REVOKE|TRUNCATE|UNINSTALL|UNLOCK_)'

const counters = (schema: string): string => `(
  select group_concat(s.variable_value order by s.variable_name separator '.')
  from ${schema}.session_status s where s.variable_name in ('${COUNTERS.join("', '")}'))`

/** Without `autocommit` a transaction begins uncounted. */
const unitCounters = (schema: string): string => `(
  select concat(cast(sum(s.variable_value) as unsigned), '.', if(@@autocommit, 1, 0))
  from ${schema}.session_status s where s.variable_name regexp '${ENDING}'
    and s.variable_name not like '%TEMPORARY%')`

const mariadb: Server = {
  kind: 'MariaDB',
  inTransaction: '@@in_transaction = 1',
  sameTransaction: counters('information_schema'),
  sameUnit: unitCounters('information_schema'),
  failsAtOnce: 'set statement innodb_lock_wait_timeout = 0 for',
}

/** `autocommit` says NO for a transaction that was begun, and YES for a statement on its own. */
const mysql: Server = {
  kind: 'MySQL',
  inTransaction: `exists (
    select 1 from performance_schema.events_transactions_current t
    where t.thread_id = ps_current_thread_id() and t.state = 'ACTIVE' and t.autocommit = 'NO')`,
  sameTransaction: counters('performance_schema'),
  sameUnit: unitCounters('performance_schema'),
  failsAtOnce: undefined,
}

/** What the server says of itself, as far as it matters here. */
export interface ServerFacts {
  readonly server: Server
  readonly version: string
  /** Bytes of the largest packet, which bounds a message. */
  readonly packetBytes: number
  /** Distance between two positions. */
  readonly increment: number
  /** 1: a commit is on the disk when it is answered. */
  readonly flushes: number
  readonly binaryLog: boolean
  readonly binaryLogFormat: string
  readonly syncsBinaryLog: number
  readonly galera: boolean
  readonly readOnly: boolean
  /** Milliseconds since the Unix epoch. */
  readonly now: number
}

type Variables = ReadonlyMap<string, string>

const NAMES = [
  'version',
  'max_allowed_packet',
  'auto_increment_increment',
  'innodb_flush_log_at_trx_commit',
  'log_bin',
  'binlog_format',
  'sync_binlog',
  'wsrep_on',
  'read_only',
  'super_read_only',
]

export async function readServer(own: Own): Promise<ServerFacts> {
  const doing = 'looking at the server'
  const { rows } = await own.run<{ Variable_name: unknown; Value: unknown }>(
    doing,
    `show variables where variable_name in ('${NAMES.join("', '")}')`,
  )
  const values: Variables = new Map(
    rows.map((row) => [String(row.Variable_name).toLowerCase(), String(row.Value)]),
  )
  const clock = await own.run<{ now: string }>(doing, `select ${NOW_MS} as now`)
  return factsOf(values, Number(onlyRow(clock).now))
}

function factsOf(values: Variables, now: number): ServerFacts {
  const version = values.get('version') ?? ''
  const number = (name: string): number => Number(values.get(name) ?? 0)
  const on = (name: string): boolean => /^(?:ON|1)$/i.test(values.get(name) ?? '')
  return {
    server: /mariadb/i.test(version) ? mariadb : mysql,
    version,
    packetBytes: number('max_allowed_packet'),
    increment: number('auto_increment_increment') || 1,
    flushes: number('innodb_flush_log_at_trx_commit'),
    binaryLog: on('log_bin'),
    binaryLogFormat: values.get('binlog_format') ?? '',
    syncsBinaryLog: number('sync_binlog'),
    galera: on('wsrep_on'),
    readOnly: on('read_only') || on('super_read_only'),
    now,
  }
}

/** Until the store has looked: the server that it is tested with. */
export const unknownServer: Server = mariadb

/** The time of the statement, in milliseconds since the Unix epoch, as text. */
export const NOW_MS: string = millisecondsOf('utc_timestamp(6)')

/** A point in time in milliseconds since the Unix epoch, as text. */
export function millisecondsOf(time: string): string {
  return `cast(timestampdiff(microsecond, '1970-01-01 00:00:00', ${time}) / 1000 as char)`
}

/** MariaDB 10.6 and MySQL 8.0.16 pass over locked rows, and check what a table checks. */
function isOld({ server, version }: ServerFacts): boolean {
  const [major = 0, minor = 0, patch = 0] = (/\d+(?:\.\d+)*/.exec(version)?.[0] ?? '0')
    .split('.')
    .map(Number)
  return server.kind === 'MariaDB'
    ? major < 10 || (major === 10 && minor < 6)
    : major < 8 || (major === 8 && minor === 0 && patch < 16)
}

/** Why this server cannot be used, if it cannot. */
export function unfitness(facts: ServerFacts): MersalError | undefined {
  const { server, version, flushes, binaryLog, binaryLogFormat } = facts
  const unsafe = (text: string): MersalError =>
    new MersalError('MERSAL_STORE_UNSAFE', `mysql: ${text}`, { details: { version } })
  if (isOld(facts))
    return unsafe(`${server.kind} ${version} is too old: MariaDB 10.6 or MySQL 8.0.16 is needed`)
  if (flushes !== 1)
    return unsafe(
      `innodb_flush_log_at_trx_commit is ${flushes}: a crash of the server could take back a transaction whose messages were published. Set it to 1`,
    )
  if (binaryLog && /^statement$/i.test(binaryLogFormat))
    return unsafe(
      'binlog_format is STATEMENT, which allows no transaction at READ COMMITTED. Set it to ROW or MIXED',
    )
  return undefined
}

/** What is allowed, but worth a word. */
export function worries({ binaryLog, syncsBinaryLog, galera }: ServerFacts): readonly string[] {
  return [
    ...(binaryLog && syncsBinaryLog !== 1
      ? [
          `mysql: sync_binlog is ${syncsBinaryLog} beside a binary log: after a loss of power the server may take back transactions that it had committed. Set it to 1`,
        ]
      : []),
    ...(galera
      ? [
          'mysql: this server is a node of Galera, whose row locks end at the node: let all writers of a key use the same node, or the order of the key is not kept',
        ]
      : []),
  ]
}
