import { type Mersal, assemblyOf } from '../app/mersal.ts'
import { rehearse, rehearseHandler } from '../app/rehearsal.ts'
import type { UnitSender } from '../app/types.ts'
import type { Destination, MessageType, OutgoingMessage } from '../core/messages/message.ts'
import type { Given } from '../core/messages/given.ts'
import { MersalError } from '../core/errors/errors.ts'
import { headerNames } from '../core/messages/message.ts'
import { decodeWith } from '../app/contracts/codecs.ts'
import type { Opening } from '../app/receive/decode.ts'

/** A message that a unit would have sent. */
export interface CapturedMessage {
  readonly id: string
  readonly type: string
  /** As a receiver would see it: encoded and decoded again. */
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>
  readonly to: Destination
  readonly partitionKey: string | undefined
  readonly delayMs: number | undefined
}

export interface Capture<Tx> {
  /**
   * Runs the work in a real transaction, checks it as before a commit, rolls it back; returns what
   * it would have sent.
   */
  transaction(
    work: (tx: Tx, sender: UnitSender) => Promise<unknown>,
  ): Promise<readonly CapturedMessage[]>
  /**
   * The same for the handler of this type, called with this body as if it had arrived. Throws what
   * the handler throws; one try.
   */
  handle<Body>(
    type: MessageType<'command' | 'event', Body>,
    body: Given<Body>,
    options?: { readonly headers?: Readonly<Record<string, string>> },
  ): Promise<readonly CapturedMessage[]>
}

/**
 * Shows what units of the app would send, for tests. Everything is rolled back: nothing is stored,
 * published or remembered as handled. The app needs a unit of work (else
 * `MERSAL_INVALID_OPTIONS`), and need not be started.
 */
export function capture<Tx>(app: Mersal<Tx>): Capture<Tx> {
  const parts = assemblyOf(app)
  const shown = (messages: readonly OutgoingMessage[]): Promise<readonly CapturedMessage[]> =>
    Promise.all(messages.map((message) => show(message, parts.settings)))
  return {
    transaction: async (work) =>
      shown(
        await rehearse(parts, async (unit) => {
          await work(unit.tx, parts.attempts.senders.make(unit, {}))
        }),
      ),
    handle: async (type, body, { headers = {} } = {}) =>
      shown(await rehearseHandler(parts, type, body, headers)),
  }
}

async function show(
  message: OutgoingMessage,
  { serializers, codecs, logger }: Opening,
): Promise<CapturedMessage> {
  const { id, type, headers, to, partitionKey, delayMs } = message
  const contentType = headers[headerNames.contentType]
  const serializer = serializers.reader({ name: type }, contentType)
  if (serializer === undefined) {
    const text = `'${type}' would be sent with the content type '${contentType}', which the app does not read`
    throw new MersalError('MERSAL_DECODE', text)
  }
  const { signal } = new AbortController()
  const body = await decodeWith(codecs, message, { id, type, logger, signal })
  return { id, type, headers, to, body: serializer.decode(body), partitionKey, delayMs }
}
