export type {
  PostgresClient,
  PostgresPool,
  PostgresPoolClient,
  PostgresResult,
} from './sql/postgres/client.ts'
export type { Isolation } from './sql/postgres/unit/client-session.ts'
export type { MigrateMode } from './sql/shared/migrations.ts'
export {
  connectionBudget,
  type ConnectionBudget,
  type ConnectionBudgetOptions,
} from './sql/postgres/pool/connection-budget.ts'
export { postgresMigrationSql } from './stores/postgres/schema.ts'
export type { PostgresOptions } from './stores/postgres/options.ts'
export { postgres, type PostgresStore } from './stores/postgres/store.ts'
export type { Session, SqlExecutor, SqlValue } from './sql/session.ts'
export { postgresQueue, type PostgresQueue } from './transports/postgres/queue.ts'
export type { PostgresQueueOptions } from './transports/postgres/options.ts'
export { postgresQueueMigrationSql } from './transports/postgres/schema.ts'
