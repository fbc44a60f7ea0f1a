import { createHash } from 'node:crypto'
import { logTokens } from '../../../core/commit-log.ts'
import { quoteIdentifier } from '../../../sql/identifiers.ts'
import { LOGGED_COLUMNS } from './logged-rows.ts'
import { PROTOCOL } from './pgoutput.ts'

/** A row with a larger body is left to the claims, which bound what they read. */
const MOST_BODY_BYTES = 8 * 1024 * 1024

export const publicationOf = (schema: string): string => `${schema}_outbox_log`

/** What the owner of the tables may run in advance. */
export const createPublication = (schema: string): string =>
  `create publication ${quoteIdentifier(publicationOf(schema))} for table ${quoteIdentifier(schema)}.outbox (${LOGGED_COLUMNS})
  where ((token is null or (token >= '${logTokens.least}' and token <= '${logTokens.most}')) and octet_length(body) <= ${MOST_BODY_BYTES})
  with (publish = 'insert')`

/** Slots belong to the whole server, so the name tells databases and schemas apart. */
export function slotOf(database: string, schema: string): string {
  const hash = createHash('sha256').update(`${database}\0${schema}`).digest('hex').slice(0, 8)
  return `${schema.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}_log_${hash}`
}

/**
 * The server drops a temporary slot, and keeps nothing of the log for it, when the connection of
 * its reader ends. Until then its name keeps others out. (These commands are no SQL: their words
 * are in upper case.)
 */
export const createSlot = (slot: string): string =>
  `CREATE_REPLICATION_SLOT "${slot}" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')`

export const startReplication = (slot: string, schema: string): string =>
  `START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (${PROTOCOL}, publication_names '${quoteIdentifier(publicationOf(schema)).replaceAll("'", "''")}')`

/** $1 schema, $2 publication. */
export const facts = `
select current_database() as database, current_user::text as role, pg_is_in_recovery() as standby,
  current_setting('wal_level') as wal_level,
  current_setting('synchronous_standby_names') as synchronous_standbys,
  current_setting('max_replication_slots') as slots, current_setting('max_wal_senders') as senders,
  current_setting('max_slot_wal_keep_size') as keep_size,
  exists (
    select from pg_roles r where r.rolname = current_user and (r.rolsuper or r.rolreplication)
      or r.rolname in ('rds_replication', 'azure_pg_admin') and pg_has_role(current_user, r.oid, 'member')
  ) as may_replicate,
  exists (
    select from pg_publication_tables t
    where t.pubname = $2::text and t.schemaname = $1::text and t.tablename = 'outbox'
  ) as published`

/** $1 slot. */
export const condition = `
select s.active, s.confirmed_flush_lsn is not null as ready, s.wal_status,
  greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::float8::text as retained
from pg_replication_slots s where s.slot_name = $1::text`

/** $1 slot. Ends a connection that waits for open transactions before it can read. */
export const giveUp = `
select pg_terminate_backend(s.active_pid) from pg_replication_slots s
where s.slot_name = $1::text and s.active_pid is not null and s.confirmed_flush_lsn is null`

/** Microseconds since 2000, as the server counts. */
export const serverTime = `
select round(extract(epoch from clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)::text as now`
