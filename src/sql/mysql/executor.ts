import { type MysqlConnection, plainRows } from './client.ts'
import { type Answer, answerOf } from './own.ts'
import { formatsItself } from './own-pool.ts'

/**
 * Runs one statement inside a transaction of somebody. Question marks are placeholders; values are
 * numbers, null and bytes. Several that are called in one tick are sent in their order.
 */
export type Run = <Row = Record<string, unknown>>(
  text: string,
  values: readonly unknown[],
  options?: RunOptions,
) => Promise<Answer<Row>>

export interface RunOptions {
  /** The text comes again and again. */
  readonly often?: boolean
  /**
   * A column that tells what an insert did, for those who see no more than rows: a position that
   * was drawn, or how often a record was hit.
   */
  readonly tells?: 'position' | 'hits'
}

/**
 * What `often` comes again and again is prepared, and its bytes travel as they are. So is everything
 * where the application has a format of its own for values.
 */
export function runOn(connection: Pick<MysqlConnection, 'query' | 'execute'>): Run {
  return async <Row>(
    text: string,
    values: readonly unknown[],
    { often = false }: RunOptions = {},
  ): Promise<Answer<Row>> => {
    const prepared = often || formatsItself(connection)
    const [result] = (await connection[prepared ? 'execute' : 'query']({
      sql: text,
      values: [...values],
      ...plainRows,
    })) as [unknown]
    return answerOf<Row>(result)
  }
}
