import type { Pool } from 'pg'

/**
 * What connections of this pool write from now on, by the bytes: a short name of each statement
 * that is executed, and `sync` where a flight ends.
 */
export function flightsOf(pool: Pool): string[] {
  const seen: string[] = []
  pool.on('connect', (client) => {
    const { stream } = (client as unknown as { connection: { stream: Stream } }).connection
    const read = executedOn()
    const write = stream.write.bind(stream)
    stream.write = (bytes, ...more) => {
      seen.push(...read(bytes).map((text) => (text === undefined ? 'sync' : brief(text))))
      return write(bytes, ...more)
    }
  })
  return seen
}

/**
 * Reads what is written on one connection: the texts of the statements that are executed, also of
 * those that the server knows by a name, and undefined where a flight ends.
 */
export function executedOn(): (bytes: Buffer) => (string | undefined)[] {
  const texts = new Map<string, string>()
  let portal = ''
  return (bytes) =>
    messagesOf(bytes).flatMap(({ code, fields: [first = '', second = ''] }) => {
      switch (code) {
        case 'P':
          texts.set(first, second)
          return []
        case 'B':
          portal = texts.get(second) ?? ''
          return []
        case 'E':
          return [portal]
        case 'Q':
          return [first]
        case 'S':
          return [undefined]
        default:
          return []
      }
    })
}

interface Stream {
  write(bytes: Buffer, ...more: unknown[]): boolean
}

interface Message {
  readonly code: string
  /** The texts that it begins with. */
  readonly fields: readonly string[]
}

function messagesOf(bytes: Buffer): Message[] {
  const messages: Message[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readInt32BE(at + 1)
    const body = bytes.toString('utf8', at + 5, at + 1 + length)
    messages.push({ code: String.fromCharCode(bytes[at] as number), fields: body.split('\0') })
    at += 1 + length
  }
  return messages
}

const brief = (text: string): string => {
  const table = /^\s*insert into \S*\.(\w+)/.exec(text)?.[1]
  if (table !== undefined) return `insert ${table}`
  if (text.includes('pg_notify')) return 'notify'
  return text.includes('pg_advisory_xact_lock') ? 'lock' : text.trim()
}
