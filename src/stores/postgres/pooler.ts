import type { Own, Query } from './pool.ts'

const ROUNDS = 4

async function backend(query: Query): Promise<string | undefined> {
  return (await query<{ pid: string }>('select pg_catalog.pg_backend_pid()::text as pid')).rows[0]?.pid
}

/**
 * Whether something in between lends the server's connections per transaction, as pgbouncer does in
 * transaction mode: then two clients meet in one server process, or one client meets two. While one
 * of them holds a transaction, the pooler cannot give the other the same connection again.
 */
export async function sharesConnections(own: Own): Promise<boolean> {
  return await own.connection((first) =>
    own.connection(async (second) => {
      const mine = await backend(first)
      for (let round = 0; round < ROUNDS; round++) {
        await second('begin')
        const other = await backend(second)
        const again = await backend(first)
        await second('commit')
        if (other === mine || again !== mine) return true
      }
      return false
    }),
  )
}
