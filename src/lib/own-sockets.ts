import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

const made = channel('net.client.socket')
const attempts = new AsyncLocalStorage<Set<Socket>>()

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
  const sockets = new Set<Socket>()
  // Of the work around this one, which may be given up as a whole.
  const outer = attempts.getStore()
  const note = (given: unknown): void => {
    if (attempts.getStore() !== sockets) return
    const { socket } = given as { readonly socket: Socket }
    sockets.add(socket)
    outer?.add(socket)
    if (signal.aborted) setImmediate(() => destroyed(socket))
  }
  const end = (): void => sockets.forEach(destroyed)
  made.subscribe(note)
  signal.addEventListener('abort', end, { once: true })
  try {
    return await attempts.run(sockets, open)
  } catch (error) {
    end()
    throw error
  } finally {
    made.unsubscribe(note)
    signal.removeEventListener('abort', end)
    sockets.clear()
  }
}

/** With an error, so that a client that still waits for it is told; there may be none. */
function destroyed(socket: Socket): void {
  socket.on('error', () => {})
  socket.destroy(new Error('the connection was given up'))
}
