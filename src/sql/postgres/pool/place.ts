import type { Own } from './pool.ts'

/**
 * Text that is equal for two sides if and only if they work in the same schema of the same database
 * of the same running server. A copy of a cluster keeps the identifier of the system, so the moment
 * of the server's start belongs to it. Undefined when the server does not tell.
 */
export async function placeOf(own: Own, schema: string): Promise<string> {
  const { rows } = await own.run<{ place: string | null }>(
    'asking which database this is',
    `select concat_ws('/', (select c.system_identifier from pg_catalog.pg_control_system() c),
      extract(epoch from pg_catalog.pg_postmaster_start_time()),
      (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()),
      (select n.oid from pg_catalog.pg_namespace n where n.nspname = $1::text)) as place`,
    [schema],
  )
  return rows[0]?.place ?? ''
}
