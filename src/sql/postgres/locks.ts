/**
 * First part of every advisory lock of a schema, so that two schemas in one database do not share
 * their keys. Second part: the number of a key, 0 to 1023; 2000 and above for other things.
 */
export function lockClass(schema: string): string {
  return `pg_catalog.hashtext('mersal.${schema}')`
}

/**
 * The number of the lock of a key. All who lock keys of a schema take it from here: another number
 * would be another lock, and the order of the key lost.
 */
export const lockNumber = (key: string): string => `hashtext(${key}) & 1023`
