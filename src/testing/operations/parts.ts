import assert from 'node:assert/strict'
import type { StoreOperations } from '../../core/operations.ts'
import type { OutboxParts } from '../outbox/harness.ts'

/** A part of the operations of this store. The cases of a part are for stores that have it. */
export function partOf<Part extends keyof StoreOperations>(
  store: OutboxParts,
  part: Part,
): NonNullable<StoreOperations[Part]> {
  const found = store.operations?.[part]
  assert.ok(found !== undefined, `the store has no operations.${part}`)
  return found
}
