import { crc32 } from 'node:zlib'
import { END } from './columns.ts'

/** Few enough that no transaction can exhaust the locks of a server. Never to be changed. */
export const KEY_SLOTS = 1024

/**
 * The lock of a partition key, which is `crc32(partition_key) & 1023` in SQL. Never to be changed:
 * two writers that disagree do not wait for each other.
 */
export const slotOf = (key: string): number => crc32(key) & (KEY_SLOTS - 1)

/** The locks of these keys, each once, in the order in which they are taken. */
export function slotsOf(keys: Iterable<string>): number[] {
  return [...new Set(Array.from(keys, slotOf))].sort((a, b) => a - b)
}

/** One row per lock of partition keys. The rows never change; only their locks are used. */
export const keyLockTable = (name: string): readonly string[] => [
  `create table if not exists ${name} (slot smallint unsigned not null primary key) ${END}`,
  `insert ignore into ${name} (slot) values ${Array.from({ length: KEY_SLOTS }, (_, slot) => `(${slot})`).join(', ')}`,
]
