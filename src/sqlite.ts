export { sqlite, type SqliteStoreOptions } from './stores/sqlite/store.ts'
export {
  sqliteQueue,
  type SqliteQueue,
  type SqliteQueueOptions,
} from './transports/sqlite/queue.ts'
export type {
  SqliteConnectionOptions,
  SqliteHandle,
  SqliteOpener,
  SqlitePath,
} from './sql/sqlite/options.ts'
export type { SqliteDatabase } from './sql/sqlite/connection/database.ts'
