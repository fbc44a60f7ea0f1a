/**
 * First part of every advisory lock of a schema, so that two schemas in one database do not share
 * their keys. Second part: the number of a key, 0 to 1023, or one of `otherLocks`.
 */
export function lockClass(schema: string): string {
  return `pg_catalog.hashtext('mersal.${schema}')`
}

/** Steps that have been applied hold some of these numbers, so that none may ever change. */
export const otherLocks = {
  /** Steps of a migration. */
  migration: 2000,
  /** Partitions of kept messages. */
  partitions: 2001,
  /** Removing records of the inbox. */
  inbox: 2002,
  /** Indexes that are built while others write. Held for as long as that takes. */
  indexes: 2003,
} as const

/**
 * The number of the lock of a key. All who lock keys of a schema take it from here: another number
 * would be another lock, and the order of the key lost.
 */
export const lockNumber = (key: string): string => `hashtext(${key}) & 1023`
