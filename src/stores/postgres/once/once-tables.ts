import { quoteIdentifier } from '../../../sql/identifiers.ts'
import type { PostgresTables } from '../../../sql/postgres/migrate.ts'
import { sameRights } from '../steps/same-rights.ts'

const tables = (S: string): string => `
create table ${S}.once (
  app text not null,
  scope text not null,
  key text not null,
  fingerprint text not null,
  response json,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  primary key (app, scope, key)
);
create index once_expires_at on ${S}.once (expires_at);

${sameRights(S, 'once')}`

export function onceTables(schema: string): PostgresTables {
  const steps = [{ version: 1, name: 'once', sql: tables(quoteIdentifier(schema)) }]
  const place = `of requests in schema '${schema}'`
  return { name: 'postgres', place, schema, table: 'once_migration', steps }
}
