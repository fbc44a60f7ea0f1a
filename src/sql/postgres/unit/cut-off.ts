import type { Socket } from 'node:net'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import type { PostgresPoolClient } from '../client.ts'

/** What is nearly answered is waited for. */
const LAST_ANSWER_MS = 250

/**
 * Ends the waiting for a server that does not answer: a moment after the unit was given up, the
 * socket of this client is destroyed, and whatever waits for an answer fails. A COMMIT under way
 * is then answered as unknown. Disposing takes this back. Clients without a socket are left alone.
 */
export function cutOff(client: PostgresPoolClient, givingUp: GivingUp): Disposable {
  let timer: NodeJS.Timeout | undefined
  const destroy = (): void => {
    const { connection } = client as { readonly connection?: { readonly stream?: Partial<Socket> } }
    connection?.stream?.destroy?.()
  }
  const stop = (): void => {
    timer = setTimeout(destroy, LAST_ANSWER_MS)
  }
  givingUp.follow(stop)
  return {
    [Symbol.dispose]() {
      clearTimeout(timer)
      givingUp.forget(stop)
      // It is closed now, and a frozen server would never let it go.
      if (givingUp.aborted && client.getTransactionStatus() !== 'I') destroy()
    },
  }
}
