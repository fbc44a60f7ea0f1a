/** Watches what the log of the database tells. */
import { loggedRow } from '../../../src/stores/postgres/log/logged-rows.ts'
import { pgoutputDecoder } from '../../../src/stores/postgres/log/pgoutput.ts'
import { at, readers } from './steps.ts'

const DATA = 'w'.charCodeAt(0)
const DATA_HEAD = 25
const ids = new Set<string>()

/** Whether the log has told of this message, for whoever reads it. */
export const isLogged = (id: string): boolean => ids.has(id)

interface Connection {
  readonly stream: { destroy(error: Error): void }
}

interface Stream {
  handleCopyData(message: { readonly chunk: Buffer }, connection: Connection): void
}

/** Queries of `pg` itself have such a method as well, but not of their own. */
export const isStream = (first: unknown): first is Stream =>
  typeof first === 'object' && first !== null && Object.hasOwn(first, 'handleCopyData')

/** The moments of each transaction that is read. */
export function watchStream(stream: Stream): void {
  const take = stream.handleCopyData.bind(stream)
  const decode = pgoutputDecoder()
  let rows = 0
  stream.handleCopyData = (message, connection) => {
    readers.add(connection)
    const { chunk } = message
    const frame = chunk[0] === DATA ? decode(chunk.subarray(DATA_HEAD)) : undefined
    if (frame?.kind === 'begin') rows = 0
    if (frame?.kind === 'commit' && rows > 0) at('log commit:before', true)
    const logged = frame?.kind === 'insert' ? loggedRow(frame.row) : undefined
    if (logged !== undefined) {
      rows += 1
      ids.add(logged.row.message.id)
    }
    take(message, connection)
    if (logged !== undefined) at('log row', true)
  }
}

interface Positions {
  sendCopyFromChunk: (this: object, chunk: Buffer) => void
}

/** The moments at which the server is told how far everything is done. */
export function watchPositions(client: object): void {
  const { prototype } = (client as { readonly Connection: { readonly prototype: Positions } })
    .Connection
  const { sendCopyFromChunk } = prototype
  prototype.sendCopyFromChunk = function send(chunk) {
    at('log position:before')
    sendCopyFromChunk.call(this, chunk)
    at('log position:written')
  }
}
