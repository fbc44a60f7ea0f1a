import assert from 'node:assert/strict'
import type { DocumentKey, DocumentStorage, HeldDocument } from '../../core/records/documents.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import type { HarnessTime } from '../contract.ts'

/** What an adapter supplies to run the documents suite: a database that nobody else uses. */
export interface DocumentsHarness extends HarnessTime, AsyncDisposable {
  /** May be called several times: each has a connection of its own. */
  open(): Promise<DocumentStorage>
}

export const key: DocumentKey = { collection: 'orders', id: 'o/1' }
export const HOLD_MS = 200
export const PASSED_MS = 300

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
export const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

export function message(label: string, extra: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return {
    id: uuidv7(Date.now()),
    type: `contract.${label}`,
    headers: { 'content-type': 'application/json', name: 'Zoë 日本語' },
    body: Uint8Array.from({ length: 256 }, (_, index) => 255 - index),
    to: { transport: 'default', kind: 'topic', name: `contract.${label}` },
    partitionKey: 'o1',
    ...extra,
  }
}

/** Stores a next state with messages of these labels; returns what it stored. */
export async function change(
  storage: DocumentStorage,
  labels: readonly string[],
  which: DocumentKey = key,
): Promise<readonly OutgoingMessage[]> {
  const { version } = await storage.load(which)
  const messages = labels.map((label) => message(label))
  const state = bytesOf(`{"version":${version + 1}}`)
  assert.equal(await storage.save({ key: which, version, state, messages }), 'saved')
  return messages
}

let holds = 0

export async function hold(
  storage: DocumentStorage,
  holdMs = 60_000,
): Promise<{ readonly token: string; readonly found: readonly HeldDocument[] }> {
  const token = `token-${++holds}`
  return { token, found: await storage.findWithMessages({ limit: 10, holdMs, token }) }
}

export async function held(
  storage: DocumentStorage,
  holdMs?: number,
): Promise<HeldDocument & { readonly token: string }> {
  const { token, found } = await hold(storage, holdMs)
  const [only] = found
  if (only === undefined || found.length !== 1)
    assert.fail(`expected one document with messages, got ${found.length}`)
  return { ...only, token }
}

export const labels = ({ messages }: HeldDocument): string[] =>
  messages.map(({ type }) => type.replace('contract.', ''))

export const settled: { confirmed: number; attempts: number; retryMs: number } = {
  confirmed: 0,
  attempts: 0,
  retryMs: 0,
}
