import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

const made = channel('net.client.socket')
/** An attempt to connect. What it has opened is kept until it has ended. */
interface Attempt {
  readonly sockets: Set<Socket>
  over: boolean
}

const attempts = new AsyncLocalStorage<Attempt>()

/**
 * Opens a connection, and destroys every socket that it has opened meanwhile if it fails, or as
 * soon as the signal aborts. Clients forget sockets of attempts whose time is over, and wait for a
 * server that does not answer although nobody waits for them any more; either keeps a process
 * alive.
 */
export async function withOwnSockets<Result>(
  signal: AbortSignal,
  open: () => Promise<Result>,
): Promise<Result> {
  const attempt: Attempt = { sockets: new Set(), over: false }
  const { sockets } = attempt
  // Of the work around this one, which may be given up as a whole. A connection that is made later,
  // by what an earlier one has called, is in its context as well.
  const outer = attempts.getStore()
  const note = (given: unknown): void => {
    if (attempts.getStore() !== attempt) return
    const { socket } = given as { readonly socket: Socket }
    sockets.add(socket)
    if (outer?.over === false) outer.sockets.add(socket)
    if (signal.aborted) setImmediate(() => destroyed(socket))
  }
  const end = (): void => sockets.forEach(destroyed)
  made.subscribe(note)
  signal.addEventListener('abort', end, { once: true })
  try {
    return await attempts.run(attempt, open)
  } catch (error) {
    end()
    throw error
  } finally {
    made.unsubscribe(note)
    signal.removeEventListener('abort', end)
    attempt.over = true
    sockets.clear()
  }
}

/** With an error, so that a client that still waits for it is told; there may be none. */
function destroyed(socket: Socket): void {
  socket.on('error', () => {})
  socket.destroy(new Error('the connection was given up'))
}
