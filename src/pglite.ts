export { type PgliteDatabase, pglitePool } from './sql/postgres/pool/pglite-pool.ts'
export { pglite, type PgliteTransaction } from './sql/sessions/pglite.ts'
export type { PostgresPool } from './sql/postgres/client.ts'
export type { Session } from './sql/session.ts'
