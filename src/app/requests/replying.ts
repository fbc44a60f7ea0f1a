import { errorFields } from '../../core/errors/error-text.ts'
import {
  type CommandType,
  type Envelope,
  headerNames,
  replyTypes,
} from '../../core/messages/message.ts'
import { isQueueName } from '../../core/messages/validation.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import type { Sender } from '../senders.ts'
import { type SendPorts, directCall } from '../send/send-calls.ts'

export const replyType: CommandType<unknown> = { kind: 'command', name: replyTypes.reply }
/** What an asker is told of a request that was given up. */
export const failedType: CommandType<{ readonly reason: string }> = {
  kind: 'command',
  name: replyTypes.failed,
}

/** Tells the asker that its request was given up. Never rejects. */
export type Refuse = (
  delivery: Delivery,
  transport: string,
  rejection: Extract<Disposition, { kind: 'reject' }>,
) => Promise<void>

/** The queue where somebody waits for the answer to this message. */
function asker({ headers }: Envelope): string | undefined {
  const queue = Object.hasOwn(headers, headerNames.replyTo) ? headers[headerNames.replyTo] : ''
  return isQueueName(queue) ? queue : undefined
}

/**
 * Adds `reply` to the context of a handler. The reply is a message of its transaction, over the
 * transport that brought the request. Its header `causation-id` names the request.
 */
export function withReply<Context extends Pick<Sender, 'send'> & { readonly message: Envelope }>(
  context: Context,
  transport: string,
): Context & { readonly reply: (body: unknown) => Promise<string> } {
  const { send, message } = context
  return Object.assign(context, {
    // Without an asker it has no owner, and fails as any such send does.
    reply: (body: unknown): Promise<string> => {
      const queue = asker(message)
      return send(replyType, body, queue === undefined ? {} : { to: { queue, transport } })
    },
  })
}

/** Goes at once, past the outbox: there is no transaction that it could belong to. */
export function refusing<Tx>(sending: SendPorts<Tx>): Refuse {
  return async ({ message }, transport, { reason }) => {
    const queue = asker(message)
    if (queue === undefined) return
    try {
      await directCall(sending, message)(
        'send',
        failedType,
        { reason },
        { to: { queue, transport } },
      )
    } catch (error) {
      const fields = { app: sending.app, id: message.id, ...errorFields(error) }
      sending.logger.debug(fields, 'an asker was not told that its request was given up')
    }
  }
}
