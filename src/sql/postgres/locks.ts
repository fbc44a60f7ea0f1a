/**
 * First part of every advisory lock of a schema, so that two schemas in one database do not share
 * their keys. Second part: the number of a key, 0 to 1023; 2000 and above for other things.
 */
export function lockClass(schema: string): string {
  return `pg_catalog.hashtext('mersal.${schema}')`
}
