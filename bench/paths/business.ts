import type { Pool, PoolClient } from 'pg'

/** The business row that every path writes. */
export const INSERT = 'insert into bench.business (text) values ($1)'

/** Commits the business row, with what else belongs to its transaction. */
export async function commitRow(
  pool: Pool,
  more: (client: PoolClient) => unknown = () => {},
): Promise<void> {
  const client = await pool.connect()
  await client.query('begin')
  await client.query(INSERT, ['a business row'])
  await more(client)
  await client.query('commit')
  client.release()
}
