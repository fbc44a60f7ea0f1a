import type { Socket } from 'node:net'
import type { PostgresPoolClient } from '../client.ts'

/** What is nearly answered is waited for. */
const LAST_ANSWER_MS = 250

/**
 * Ends the waiting for a server that does not answer: a moment after the signal has aborted, the
 * socket of this client is destroyed, and whatever waits for an answer fails. A COMMIT under way
 * is then answered as unknown. Disposing takes this back. Clients without a socket are left alone.
 */
export function cutOff(client: PostgresPoolClient, signal: AbortSignal | undefined): Disposable {
  let timer: NodeJS.Timeout | undefined
  const destroy = (): void => {
    const { connection } = client as { readonly connection?: { readonly stream?: Partial<Socket> } }
    connection?.stream?.destroy?.()
  }
  const onAbort = (): void => {
    timer = setTimeout(destroy, LAST_ANSWER_MS)
  }
  if (signal?.aborted === true) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return {
    [Symbol.dispose]() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      // It is closed now, and a frozen server would never let it go.
      if (signal?.aborted === true && client.getTransactionStatus() !== 'I') destroy()
    },
  }
}
