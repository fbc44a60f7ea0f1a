import { isError } from '../../lib/is-error.ts'

/** No chain of causes is followed further than this. */
const MOST = 16

/**
 * Where errors keep what they were caused by: the language, and libraries that came before it had
 * `cause`.
 */
const LINKS = [
  'cause',
  'parent',
  'original',
  'originalError',
  'driverError',
  'previous',
  'driverAdapterError',
] as const

/** A property of a value that may be hostile: reading it can throw. */
export function readProperty(value: unknown, name: string): unknown {
  try {
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)[name]
      : undefined
  } catch {
    return undefined
  }
}

/** The first of a list; of one that is hostile, nothing. */
function membersOf(list: unknown): readonly unknown[] {
  try {
    return Array.isArray(list) ? Array.from(list.slice(0, MOST)) : []
  } catch {
    return []
  }
}

function linksOf(error: unknown): readonly unknown[] {
  const linked = LINKS.map((name) => readProperty(error, name))
  const several = readProperty(error, 'errors')
  // Prisma keeps the answer of the database in `meta`.
  const meta = readProperty(error, 'meta')
  return [...linked, ...membersOf(several), meta, readProperty(meta, 'driverAdapterError')]
}

/** Whether a value of the chain has a message or a code; a bare container has none. */
function isInformative(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return value !== undefined && value !== null
  if (isError(value)) return true
  return (
    typeof readProperty(value, 'message') === 'string' ||
    typeof readProperty(value, 'code') === 'string'
  )
}

/**
 * The error and everything that it was caused by, the nearest first, each once: `cause`, the
 * members of an `AggregateError`, and the fields by which Knex, Sequelize, TypeORM, MikroORM and
 * Prisma wrap the error of their driver. A circle ends where it began.
 */
export function causesOf(error: unknown): readonly unknown[] {
  const seen = new Set<unknown>()
  let level: readonly unknown[] = [error]
  const found: unknown[] = []
  while (level.length > 0 && found.length < MOST) {
    const fresh = level
      .filter((one) => !seen.has(one) && isInformative(one))
      .slice(0, MOST - found.length)
    for (const one of fresh) {
      if (!seen.has(one)) found.push(one)
      seen.add(one)
    }
    level = fresh.flatMap(linksOf)
  }
  return found
}
