import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type {
  Cancellation,
  ClaimedMessage,
  ClaimRequest,
  Settlement,
} from '../../src/core/outbox.ts'
import { uuidv7 } from '../../src/lib/uuid.ts'
import type { Store } from '../../src/core/store.ts'

/** A small event whose type ends with this label. */
export function message(label: string, partitionKey?: string): OutgoingMessage {
  return {
    id: uuidv7(Date.now()),
    type: `test.${label}`,
    headers: { 'content-type': 'application/json' },
    body: new TextEncoder().encode(JSON.stringify({ label })),
    to: { transport: 'default', kind: 'topic', name: `test.${label}` },
    ...(partitionKey === undefined ? {} : { partitionKey }),
  }
}

/** As `message`, for in ten minutes. */
export const delayed = (label: string): OutgoingMessage => ({ ...message(label), delayMs: 600_000 })

/** How a claim may end that a cancel waits for, and what the cancel answers then. */
export const claimEnds = [
  ['commits', 'commit', 'gone'],
  ['is rolled back', 'rollback', 'cancelled'],
] as const

export async function cancelIn<Tx>(
  store: Store<Tx>,
  tx: Tx,
  id: string,
): Promise<Cancellation | undefined> {
  return await store.outbox.waiting?.cancel?.(tx, id)
}

/** Saves it in a transaction of its own. */
export async function saveAlone<Tx>(store: Store<Tx>, row: OutgoingMessage): Promise<void> {
  await store.unitOfWork((tx) => store.outbox.save(tx, [row]))
}

export const labelOf = (row: ClaimedMessage): string => row.message.type.replace('test.', '')

export const newToken = (): string => uuidv7(Date.now())

export const sent = ({ position, token }: ClaimedMessage): Settlement => ({
  kind: 'sent',
  position,
  token,
})

export async function claim<Tx>(
  store: Store<Tx>,
  request: Partial<ClaimRequest> = {},
): Promise<readonly ClaimedMessage[]> {
  return await store.outbox.claim({ limit: 100, claimMs: 600_000, token: newToken(), ...request })
}

export async function labels<Tx>(store: Store<Tx>): Promise<string[]> {
  return (await claim(store)).map(labelOf)
}
