import type { EventEmitter } from 'node:events'

/**
 * The part of a `pg` client that carries a stream of both directions. `pg` parses its frames and
 * knows nothing of what is in them.
 */
export interface ReplicationClient extends Pick<EventEmitter, 'on'> {
  readonly connection: ReplicationConnection
  query(statement: object): unknown
}

export interface ReplicationConnection {
  readonly stream: { pause(): void; resume(): void }
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  once(event: 'replicationStart', listener: () => void): void
}

/** A stream of the log that the server has been asked for. */
export interface Replication {
  /** Resolves when the server has begun to send. Rejects if it refuses. */
  readonly started: Promise<void>
  /** Rejects when the stream has ended, for whatever reason. */
  readonly ended: Promise<never>
  /** Nothing more is read until `resume`. What is under way still comes. */
  pause(): void
  resume(): void
  /** Tells how far everything is done. The server answers with a frame if it is asked to. */
  confirm(status: Status): void
}

export interface Status {
  readonly position: bigint
  /** Whether the server is to answer at once. */
  readonly answer: boolean
  /** Milliseconds since the Unix epoch. */
  readonly now: number
}

const STATUS = 'r'.charCodeAt(0)
/** From the epoch of Unix to that of PostgreSQL, in milliseconds. */
const EPOCH_MS = 946_684_800_000

/** Sends `START_REPLICATION`. `onData` gets each frame of the stream. */
export function replicate(
  client: ReplicationClient,
  text: string,
  onData: (frame: Buffer) => void,
): Replication {
  const { connection } = client
  const started = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<never>()
  for (const { promise } of [started, ended]) promise.catch(() => {})
  const fail = (error: Error): void => {
    started.reject(error)
    ended.reject(error)
  }
  const over = (): void => fail(new Error('the server has ended the stream of the log'))
  connection.once('replicationStart', () => started.resolve())
  client.on('error', fail)
  client.on('end', () => fail(new Error('the connection that reads the log has ended')))
  client.query({
    submit: () => connection.query(text),
    handleCopyData: ({ chunk }: { readonly chunk: Buffer }) => onData(chunk),
    handleError: fail,
    handleCommandComplete: over,
    handleReadyForQuery: over,
  })
  return {
    started: started.promise,
    ended: ended.promise,
    pause: () => connection.stream.pause(),
    resume: () => connection.stream.resume(),
    confirm: (status) => connection.sendCopyFromChunk(statusFrame(status)),
  }
}

function statusFrame({ position, answer, now }: Status): Buffer {
  const frame = Buffer.alloc(34)
  frame.writeUInt8(STATUS, 0)
  for (const at of [1, 9, 17]) frame.writeBigUInt64BE(position, at)
  frame.writeBigInt64BE(BigInt(Math.round((now - EPOCH_MS) * 1000)), 25)
  frame.writeUInt8(answer ? 1 : 0, 33)
  return frame
}
