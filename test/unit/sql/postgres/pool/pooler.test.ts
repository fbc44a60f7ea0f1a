import { describe, expect, test } from 'vitest'
import type { Own, Query } from '../../../../../src/sql/postgres/pool/pool.ts'
import { sharesConnections } from '../../../../../src/sql/postgres/pool/pooler.ts'

/**
 * Lends the connection that came back last, as pgbouncer does; `among` changes the list after the
 * first statement, as others would.
 */
function lending(idle: string[], among: (idle: string[]) => unknown): Own['connection'] {
  let statements = 0
  return (work) => {
    let held: string | undefined
    const within = (_ms: number, text: string) => {
      const server = held ?? idle.shift() ?? 'a new one'
      held = text === 'begin' || (held !== undefined && text !== 'commit') ? server : undefined
      if (held === undefined) idle.unshift(server)
      if (++statements === 1) among(idle)
      return Promise.resolve({ rows: [{ pid: server }], rowCount: 1, command: '' })
    }
    return work({ within } as unknown as Query, {} as never)
  }
}

const shares = (connection: Own['connection']): Promise<boolean> =>
  sharesConnections({ connection } as Own, 1000)

describe('a pooler in transaction mode', () => {
  test('is found when it lends one server connection to both', async () => {
    expect(await shares(lending(['1'], () => {}))).toBe(true)
  })

  test('is found also when others have brought it to lend each of the two its own, round after round', async () => {
    expect(await shares(lending(['1', '2'], (idle) => idle.push(idle.shift() ?? '')))).toBe(true)
  })

  test('is not found where each connection has a server process of its own', async () => {
    let clients = 0
    const direct: Own['connection'] = (work) => {
      const pid = String(++clients)
      const within = () => Promise.resolve({ rows: [{ pid }], rowCount: 1, command: '' })
      return work({ within } as unknown as Query, {} as never)
    }
    expect(await shares(direct)).toBe(false)
  })
})
