import type { Controls } from '../../units/transaction-words.ts'
import type { SqliteDatabase } from './database.ts'
import type { Gate } from '../unit/gate.ts'

const RUNS = new Set<PropertyKey>(['run', 'get', 'all', 'iterate'])

/** A prepared statement that does nothing once its unit has ended. */
export function guardedStatement(
  statement: object,
  controls: Controls | undefined,
  gate: Gate,
): object {
  const guarded: object = new Proxy(statement, {
    get(target, name) {
      if (name === 'database') return gate.tx
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function' || name === 'constructor') return value
      return (...given: unknown[]): unknown => {
        const result: unknown = gate.run(
          RUNS.has(name) ? controls : undefined,
          () => Reflect.apply(value, target, given) as unknown,
        )
        if (result === target) return guarded
        return name === 'iterate' ? guardedRows(result as Iterator<unknown>, gate) : result
      }
    },
  })
  return guarded
}

/** The statement runs on with each row, until the last one, or until the unit ends. */
function guardedRows(rows: Iterator<unknown>, gate: Gate): IterableIterator<unknown> {
  const stop = (value?: unknown): IteratorResult<unknown> => {
    gate.iterations.delete(stop)
    return rows.return?.(value) ?? { done: true, value }
  }
  gate.iterations.add(stop)
  return {
    next() {
      const row = gate.run(undefined, () => rows.next())
      if (row.done === true) gate.iterations.delete(stop)
      return row
    },
    return: stop,
    [Symbol.iterator]() {
      return this
    },
  }
}

/** The store of statements by their tagged text, which newer versions of Node have. */
export function guardedTags(native: SqliteDatabase, size: number | undefined, gate: Gate): object {
  const maker = native as unknown as { createTagStore(size?: number): object }
  const tags = size === undefined ? maker.createTagStore() : maker.createTagStore(size)
  return new Proxy(tags, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...given: unknown[]): unknown => {
        const controls = RUNS.has(name)
          ? gate.admit((given[0] as readonly string[]).join('?'))
          : undefined
        const result: unknown = gate.run(
          controls,
          () => Reflect.apply(value, target, given) as unknown,
        )
        return name === 'iterate' ? guardedRows(result as Iterator<unknown>, gate) : result
      }
    },
  })
}
