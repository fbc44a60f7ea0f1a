import { TextEncoder } from 'node:util'
import type { ClaimedMessage, ClaimRequest, OnDead, Settlement } from '../../core/outbox.ts'
import type { Destination, OutgoingMessage } from '../../core/messages/message.ts'
import type { Store } from '../../core/store.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import type { HarnessTime } from '../contract.ts'

/** The parts of a store that the outbox suite works with. A `Store` has them. */
export type OutboxParts<Tx = unknown> = AsyncDisposable &
  Pick<Store<Tx>, 'unitOfWork' | 'outbox' | 'admin' | 'open' | 'operations' | 'savepoints'> &
  Partial<Pick<Store<Tx>, 'tracker'>>

/**
 * What an adapter supplies to run the outbox suite. Disposing it removes its database; the cases
 * themselves dispose the stores that they open.
 */
export interface OutboxHarness<Tx = unknown> extends HarnessTime, AsyncDisposable {
  /**
   * A store on the one database of this harness, ready for use. May be called several times: what
   * it returns is then like stores of different processes (connections of their own).
   */
  open(): Promise<OutboxParts<Tx>>
  /** Inserts a business row with this text through the handle of a transaction. */
  write(tx: Tx, text: string): Promise<void>
  /**
   * The texts of all committed business rows, in any order. Called only while no transaction is
   * open.
   */
  read(): Promise<readonly string[]>
  /**
   * Values that are no transaction of this store, such as the pool or the root handle of the
   * library.
   */
  readonly strangers?: readonly unknown[]
}

/** What the retention suite needs besides. */
export interface RetentionHarness<Tx = unknown> extends OutboxHarness<Tx> {
  /** A store like those of `open`, that keeps sent rows for this long. */
  openKeeping(keepSentMs: number): Promise<OutboxParts<Tx>>
}

/** A claim that outlasts every case. */
export const LONG_MS = 600_000
/** A claim or a delay that ends while a case waits. */
export const SHORT_MS = 200
/** Enough for whatever was due after `SHORT_MS` to be due by any clock. */
export const PASSED_MS = 300

export const destination: Destination = { transport: 'default', kind: 'queue', name: 'contract' }

let counter = 0

/** A message of its own. Its type is `contract.<label>`, so that a case can tell which one came. */
export function message(label: string, extra: Partial<OutgoingMessage> = {}): OutgoingMessage {
  counter++
  return {
    id: uuidv7(Date.now()),
    type: `contract.${label}`,
    headers: { 'content-type': 'application/json' },
    body: new TextEncoder().encode(`{"number":${counter}}`),
    to: destination,
    ...extra,
  }
}

/** Messages of one partition key. */
export function keyed(key: string, ...labels: readonly string[]): OutgoingMessage[] {
  return labels.map((label) => message(label, { partitionKey: key }))
}

let tokens = 0

/** A token that no other claim has. */
export function newToken(): string {
  return uuidv7(Date.now() + ++tokens)
}

/** Saves the messages in a transaction of their own. */
export function commit(
  store: OutboxParts,
  messages: readonly OutgoingMessage[],
): ReturnType<OutboxParts['outbox']['save']> {
  return store.unitOfWork((tx) => store.outbox.save(tx, messages))
}

/** Claims up to 1,000 rows for a long time with a new token; any part may be given. */
export function claim(
  store: OutboxParts,
  request: Partial<ClaimRequest> = {},
): Promise<readonly ClaimedMessage[]> {
  return store.outbox.claim({ limit: 1000, claimMs: LONG_MS, token: newToken(), ...request })
}

export function labels(rows: readonly { readonly message: OutgoingMessage }[]): string[] {
  return rows.map(({ message: { type } }) => type.replace('contract.', ''))
}

export function sent({ position, token }: ClaimedMessage): Settlement {
  return { kind: 'sent', position, token }
}

export function release({ position, token }: ClaimedMessage, delayMs?: number): Settlement {
  return { kind: 'release', position, token, ...(delayMs === undefined ? {} : { delayMs }) }
}

export function retry({ position, token }: ClaimedMessage, delayMs: number): Settlement {
  return { kind: 'retry', position, token, delayMs, error: new Error('the broker said no') }
}

export function dead(
  { position, token }: ClaimedMessage,
  onDead: OnDead,
  maybePublished = false,
): Settlement {
  return {
    kind: 'dead',
    position,
    token,
    reason: 'refused',
    error: new Error('given up'),
    onDead,
    maybePublished,
  }
}

/**
 * Lets `work` get as far as it can while somebody else's transaction is open. It may have ended
 * afterwards, or wait for that transaction: with some databases every second writer does.
 */
export async function headStart(work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 50)
  })
  await Promise.race([work.catch(() => undefined), enough])
  clearTimeout(timer)
}

export function only<Value>(values: readonly Value[]): Value {
  const [value] = values
  if (value === undefined || values.length !== 1)
    throw new Error(`expected exactly one, got ${values.length}`)
  return value
}
