import type { EventEmitter } from 'node:events'
import type { PoolClient } from 'pg'
import type { Body, Servers, WorkerPlan } from './plan.ts'

/** Whatever executes statements in a transaction. */
export interface Statements {
  query(text: string, values?: unknown[]): Promise<unknown>
}

export type Handle = (tx: Statements, body: Body) => Promise<void>

/** A library, used as its documentation says. */
export interface Opened extends AsyncDisposable {
  /** One transaction: a row in `business`, and the message. */
  write(body: Body): Promise<void>
  /** Handles messages with their effect in one transaction. A failure is tried again, at most twice. */
  consume(handle: Handle): Promise<void>
}

export interface Ports extends Servers {
  readonly order: WorkerPlan['order']
  /** Writes the row of a transaction, in it. */
  readonly row: (tx: Statements, body: Body) => Promise<void>
  /** Called for each connection on which transactions of the program run. */
  readonly watch: (client: PoolClient) => void
}

export interface Library {
  open(ports: Ports): Promise<Opened>
  /** Messages that were given up and are kept for somebody to look at. */
  given(servers: Servers, query: Statements): Promise<number>
}

/** Calls back when the server has executed a COMMIT on this connection. */
export function onCommit(client: PoolClient, reached: () => void): void {
  const { connection } = client as unknown as { readonly connection: EventEmitter }
  connection.prependListener('commandComplete', ({ text }: { readonly text: string }) => {
    if (text === 'COMMIT') reached()
  })
}

/** The transaction of a program that uses `pg` alone. */
export async function transaction(
  connect: () => Promise<PoolClient>,
  work: (client: PoolClient) => Promise<void>,
): Promise<void> {
  const client = await connect()
  try {
    await client.query('begin')
    await work(client)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}
