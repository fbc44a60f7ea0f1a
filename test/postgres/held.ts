import type { PoolClient } from 'pg'

/** A transaction that is open until its end, or that of the test. */
export interface Held extends AsyncDisposable {
  end(): Promise<void>
}

export function held(client: PoolClient): Held {
  let ended: Promise<void> | undefined
  const end = async (): Promise<void> => {
    await client.query('commit')
    client.release()
  }
  return {
    end: () => (ended ??= end()),
    [Symbol.asyncDispose]: () => (ended ??= end()),
  }
}
