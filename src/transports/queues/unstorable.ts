import { isUint8Array } from 'node:util/types'
import type { OutgoingMessage } from '../../core/messages/message.ts'

/** Why a database could not store this message as it is; undefined if it could. */
export function unstorable(
  message: OutgoingMessage,
  { takesNul }: { readonly takesNul: boolean },
): string | undefined {
  const { id, type, headers, to, partitionKey = '', body } = message
  const texts: readonly unknown[] = [
    id,
    type,
    to.transport,
    to.name,
    partitionKey,
    ...Object.keys(headers),
    ...Object.values(headers),
  ]
  const isStored = (text: unknown): boolean =>
    typeof text === 'string' && (takesNul || !text.includes('\0')) && text.isWellFormed()
  if (!texts.every(isStored))
    return `the message cannot be stored: id, type, key and headers must be well-formed text${takesNul ? '' : ' without NUL'}`
  return isUint8Array(body) ? undefined : 'the message cannot be stored: its body is no Uint8Array'
}
