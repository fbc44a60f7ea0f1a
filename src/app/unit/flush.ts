import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { ClaimedMessage, SavedMessage, SaveOptions, WrittenRow } from '../../core/outbox.ts'
import type { Savepoints } from '../../core/store.ts'
import { emit } from '../../core/telemetry.ts'
import { noteFacts, traced } from '../../core/traced.ts'
import type { LinkedAbort } from '../../lib/async/linked-abort.ts'
import type { ExpressOffer, Relay } from '../../outbox/types.ts'
import type { AppOutbox } from './queue-beside-outbox.ts'
import { keptMessages } from './savepoints.ts'
import type { Captured } from './held/slots.ts'

export interface FlushPorts<Tx> {
  readonly app: string
  readonly savepoints: Savepoints<Tx> | undefined
  readonly outbox: Pick<AppOutbox<Tx>, 'storage' | 'committed'>
  readonly relay: Pick<Relay, 'express' | 'wake'>
}

type Written = SavedMessage | WrittenRow

/** Messages that were written, and the permission to publish them from memory after the commit. */
export interface Flushed {
  readonly messages: readonly OutgoingMessage[]
  /** A promise: they are being written in one flight with the commit. */
  readonly saved: readonly Written[] | Promise<readonly Written[]>
  readonly offer: ExpressOffer | undefined
}

export const nothing: Flushed = { messages: [], saved: [], offer: undefined }

/** Writes the messages of a unit, as the last statement of its transaction. */
export async function flush<Tx>(
  { app, savepoints, outbox, relay }: FlushPorts<Tx>,
  tx: Tx,
  captured: readonly Captured[],
  link: LinkedAbort,
): Promise<Flushed> {
  const messages = await keptMessages(savepoints, tx, captured)
  link.throwIfAborted()
  if (messages.length === 0) return nothing
  const offer = relay.express(messages)
  const { storage } = outbox
  try {
    const options = optionsOf(offer)
    const { saved } = await traced(
      'save',
      () => ({ app, messages: messages.length, into: 'unit' }),
      (facts) => {
        const later = storage.saveLast?.(tx, messages, options)
        if (later !== undefined) noteFacts(facts, { into: 'commit' })
        return later ?? storage.save(tx, messages, options).then((rows) => ({ saved: rows }))
      },
    )
    link.throwIfAborted()
    return { messages, saved, offer }
  } catch (error) {
    offer?.cancel()
    throw error
  }
}

function optionsOf(offer: ExpressOffer | undefined): SaveOptions {
  return offer === undefined ? {} : { express: { token: offer.token, graceMs: offer.graceMs } }
}

/**
 * Hands over to the relay what has certainly been committed: rows that were born claimed to the
 * express lane, and a hint for the others.
 */
export async function handOver<Tx>(
  { app, outbox, relay }: FlushPorts<Tx>,
  { messages, saved: writing, offer }: Flushed,
): Promise<void> {
  if (messages.length === 0) return
  const saved = await writing
  const inQueues = outbox.committed(messages, saved)
  const express = offer === undefined ? [] : bornClaimed(messages, saved, offer.token)
  emit('mersal:commit', () => ({ app, messages: messages.length, express: express.length }))
  if (express.length > 0) offer?.dispatch(express)
  else offer?.cancel()
  if (express.length + inQueues < messages.length) relay.wake()
}

function bornClaimed(
  messages: readonly OutgoingMessage[],
  saved: readonly Written[],
  token: string,
): readonly ClaimedMessage[] {
  return messages.flatMap((message, index) => {
    const row = saved[index]
    if (row?.kind !== 'born-claimed') return []
    return { message, position: row.position, attempt: 0, token }
  })
}
