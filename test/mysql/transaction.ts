import type { Pool, PoolConnection } from 'mysql2/promise'

/** Runs the work in a transaction on a connection of the pool, ended by hand. */
export async function inTransaction(
  pool: Pool,
  end: 'commit' | 'rollback',
  work: (tx: PoolConnection) => Promise<void>,
): Promise<void> {
  const connection = await pool.getConnection()
  let whole = false
  try {
    await connection.beginTransaction()
    await work(connection)
    await connection[end]()
    whole = true
  } finally {
    if (whole) connection.release()
    else connection.destroy()
  }
}
