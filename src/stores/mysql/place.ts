import { type Tables, tablesIn } from '../../sql/mysql/names.ts'
import { type Server, type ServerFacts, unknownServer } from '../../sql/mysql/server.ts'
import { type Statements, statements } from './statements/statements.ts'

/** The database of a store, and what is known of its server. */
export interface Place {
  readonly database: string
  readonly tables: Tables
  readonly sql: Statements
  readonly server: Server
  readonly facts: Pick<ServerFacts, 'packetBytes' | 'increment'>
  /** A commit is on the disk when it is answered, so that a message may be sent at once. */
  readonly durable: boolean
  /** Called when the server was looked at. */
  learn(facts: ServerFacts): void
}

/** What a server has that nobody has looked at: the least that MariaDB and MySQL begin with. */
const LEAST_PACKET_BYTES = 16 * 1024 * 1024

export function placeIn(database: string): Place {
  const tables = tablesIn(database)
  let server = unknownServer
  let sql = statements(tables, server)
  let facts: Place['facts'] = { packetBytes: LEAST_PACKET_BYTES, increment: 1 }
  let durable = false
  return {
    database,
    tables,
    get sql() {
      return sql
    },
    get server() {
      return server
    },
    get facts() {
      return facts
    },
    get durable() {
      return durable
    },
    learn(found) {
      facts = found
      durable =
        found.flushes === 1 && !found.galera && (!found.binaryLog || found.syncsBinaryLog === 1)
      if (found.server === server) return
      server = found.server
      sql = statements(tables, server)
    },
  }
}
