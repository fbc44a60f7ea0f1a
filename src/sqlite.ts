export { sqlite, type SqliteStoreOptions } from './stores/sqlite/store.ts'
export type { SqliteConnectionOptions, SqliteHandle, SqlitePath } from './stores/sqlite/options.ts'
export type { SqliteDatabase } from './stores/sqlite/database.ts'
