/** Dead letters of the outbox, as an operator finds them and as plain SQL does. */
import { createHash } from 'node:crypto'
import type { DeadLetterBox } from '../../../src/core/dead-letter.ts'

/** What plain SQL says about a dead letter. */
export interface Letter {
  readonly id: string
  readonly reason: string
  readonly bytes: number
  /** SHA-256 of the body, in hexadecimal. */
  readonly digest: string
}

export const bodyDigest = (body: Uint8Array): string =>
  createHash('sha256').update(body).digest('hex')

/** Through the verb that operators have. Returns how many were discarded. */
export async function discardAll(
  box: Pick<DeadLetterBox, 'list' | 'discard'>,
  ids: ReadonlySet<string>,
): Promise<number> {
  const keys: string[] = []
  let after: string | undefined
  for (;;) {
    const page = await box.list(after === undefined ? {} : { after })
    if (page.length === 0) break
    keys.push(...page.filter(({ id }) => ids.has(id)).map(({ key }) => key))
    after = page.at(-1)?.key
  }
  return box.discard(keys)
}
