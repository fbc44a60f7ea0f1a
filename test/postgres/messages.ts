import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { ClaimedMessage, ClaimRequest, Settlement } from '../../src/core/outbox.ts'
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
