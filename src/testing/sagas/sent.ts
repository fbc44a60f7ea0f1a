import { encodeBody, validateBody } from '../../app/send/body.ts'
import { checkMessageType } from '../../app/send/messages.ts'
import { checkRoundTrip } from '../../app/send/round-trip.ts'
import type { HandlerContext } from '../../app/types.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Envelope, MessageType } from '../../core/messages/message.ts'
import { jsonSerializer } from '../../core/messages/serializer.ts'
import { uuidv7 } from '../../lib/uuid.ts'

/** What a saga has sent while it handled one message. */
export interface SagaMessage {
  readonly kind: 'send' | 'sendLocal' | 'publish' | 'reply'
  /** Name of the message type; empty for a reply. */
  readonly type: string
  /** As a receiver would see it: encoded and decoded again. */
  readonly body: unknown
  /** As they were given. */
  readonly options: Readonly<Record<string, unknown>>
}

/** The context of one message, and what was sent through it. */
export interface Sending {
  readonly context: HandlerContext<undefined>
  readonly sent: readonly SagaMessage[]
  /** To be run when the message is handled. */
  readonly afterwards: readonly (() => unknown)[]
}

/** A context without transaction, database and broker: it writes down what is sent. */
export function createSending(message: Envelope, tx: unknown, now: () => number): Sending {
  let sent: SagaMessage[] = []
  let afterwards: (() => unknown)[] = []
  const note =
    (kind: SagaMessage['kind'], expected: MessageType['kind']) =>
    async (type: MessageType, body: unknown, options: object = {}): Promise<string> => {
      checkMessageType(`${kind}()`, type, expected)
      sent.push({
        kind,
        type: type.name,
        body: await travelled(type, body),
        options: { ...options },
      })
      return uuidv7(now())
    }
  const context = {
    tx: tx as undefined,
    tenant: undefined,
    message,
    attempt: 1,
    duplicate: false,
    signal: new AbortController().signal,
    send: note('send', 'command'),
    sendLocal: note('sendLocal', 'command'),
    publish: note('publish', 'event'),
    reply(body: unknown): Promise<string> {
      sent.push({ kind: 'reply', type: '', body, options: {} })
      return Promise.resolve(uuidv7(now()))
    },
    cancel: () => Promise.reject(notHere('cancel')),
    afterCommit: (work: () => unknown) => void afterwards.push(work),
    async savepoint<Result>(work: () => Promise<Result>): Promise<Result> {
      const before = [sent.length, afterwards.length] as const
      try {
        return await work()
      } catch (error) {
        sent = sent.slice(0, before[0])
        afterwards = afterwards.slice(0, before[1])
        throw error
      }
    },
  }
  return {
    context,
    get sent() {
      return sent
    },
    get afterwards() {
      return afterwards
    },
  }
}

/** The body as a receiver gets it. Throws as a send does. */
export async function travelled(type: MessageType, body: unknown): Promise<unknown> {
  const valid = await validateBody(type, body)
  const bytes = encodeBody(jsonSerializer, type, valid)
  await checkRoundTrip(jsonSerializer, type, valid, bytes)
  return validateBody(type, jsonSerializer.decode(bytes))
}

const notHere = (call: string): MersalError =>
  new MersalError('MERSAL_INVALID_OPTIONS', `${call}() needs an outbox: a rehearsal has none`)
