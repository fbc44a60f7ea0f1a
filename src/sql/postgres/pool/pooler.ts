import type { Own, Query } from './pool.ts'

/** Among other traffic, a round may by chance find what it would find without a pooler. */
const ROUNDS = 16

async function backend(query: Query, answerMs: number): Promise<string | undefined> {
  return (
    await query.within<{ pid: string }>(answerMs, 'select pg_catalog.pg_backend_pid()::text as pid')
  ).rows[0]?.pid
}

/**
 * Whether something in between lends the server's connections per transaction, as pgbouncer does in
 * transaction mode: then two clients meet in one server process, or one client meets two. While one
 * of them holds a transaction, the pooler cannot give the other the same connection again; and the
 * first one is asked also right after that transaction, since a pooler that lends what came back
 * last may otherwise give each of the two its own, round after round. Throws when a connection does
 * not answer in time: it may have been half-open.
 */
export async function sharesConnections(own: Own, answerMs: number): Promise<boolean> {
  return await own.connection((first) =>
    own.connection(async (second) => {
      const mine = await backend(first, answerMs)
      for (let round = 0; round < ROUNDS; round++) {
        await second.within(answerMs, 'begin')
        const other = await backend(second, answerMs)
        const again = await backend(first, answerMs)
        await second.within(answerMs, 'commit')
        const after = await backend(first, answerMs)
        if (other === mine || again !== mine || after !== mine) return true
      }
      return false
    }),
  )
}
