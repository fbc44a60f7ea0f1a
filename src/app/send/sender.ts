import type { MessageType } from '../../core/messages/message.ts'
import type { EventOptions, SendOptions, Sender } from '../types.ts'

export type Verb = 'send' | 'sendLocal' | 'publish'

/** Takes one call of a sender. Resolves to the id of the message. */
export type SendCall = (
  verb: Verb,
  type: MessageType,
  body: unknown,
  options: SendOptions | EventOptions | undefined,
) => Promise<string>

/** Makes a sender of one function. The methods need no `this`. */
export function createSender(call: SendCall): Sender {
  return {
    send: (type, body, options) => call('send', type, body, options),
    sendLocal: (type, body, options) => call('sendLocal', type, body, options),
    publish: (type, body, options) => call('publish', type, body, options),
  }
}
