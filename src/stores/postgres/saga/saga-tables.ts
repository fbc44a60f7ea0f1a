import { quoteIdentifier } from '../../../sql/identifiers.ts'
import type { PostgresTables } from '../../../sql/postgres/migrate.ts'
import { sameRights } from '../steps/same-rights.ts'

/** `json` keeps the text as it is, and refuses what is none. */
const tables = (S: string): string => `
create table ${S}.saga (
  app text not null,
  saga text not null,
  key text not null,
  id uuid not null,
  version integer not null,
  state json not null,
  timeouts json not null,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (app, saga, key)
);

${sameRights(S, 'saga')}`

export function sagaTables(schema: string): PostgresTables {
  const steps = [{ version: 1, name: 'sagas', sql: tables(quoteIdentifier(schema)) }]
  const place = `of sagas in schema '${schema}'`
  return { name: 'postgres', place, schema, table: 'saga_migration', steps }
}
