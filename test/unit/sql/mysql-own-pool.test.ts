import { createPool } from 'mysql2/promise'
import { expect, test } from 'vitest'
import { ownPool } from '../../../src/sql/mysql/own-pool.ts'

interface Core {
  readonly pool: { readonly config: { readonly connectionConfig: PreparedStatements } }
}
interface PreparedStatements {
  readonly maxPreparedStatements: number
}

const placesOf = (pool: unknown): number =>
  (pool as Core).pool.config.connectionConfig.maxPreparedStatements

test('a connection of our own takes room for the statements that we prepare, and not for 16,000', async () => {
  const given = createPool({ uri: 'mysql://nobody@127.0.0.1:1/none' })
  const own = ownPool(given, { most: 1, where: 'mysql', instead: 'relayPool' })
  // Half a MiB for each connection, and for each try to connect while the server is away.
  expect(placesOf(given)).toBe(16_000)
  expect(placesOf(own)).toBe(100)
  await Promise.all([given.end(), own.end()])
})
