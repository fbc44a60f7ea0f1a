import pg from 'pg'
import type { PostgresClient } from '../../src/postgres.ts'

interface Submittable {
  text: string
  submit(connection: unknown): unknown
}

/** A query whose text is seen by the server alone: the only way past the look at the first word. */
function hidden(text: string): pg.Query & Submittable {
  const query = new pg.Query('') as pg.Query & Submittable
  const submit = query.submit.bind(query)
  query.submit = (connection) => {
    query.text = text
    return submit(connection)
  }
  return query
}

/**
 * Sends a statement behind the back of the handle of a unit, as a library with a protocol of its
 * own would.
 */
export async function smuggle(tx: PostgresClient, text: string): Promise<void> {
  const query = hidden(text)
  await new Promise<void>((resolve, reject) => {
    query.once('end', () => resolve()).once('error', reject)
    ;(tx as unknown as { query(query: object): void }).query(query)
  })
}
