import { replyType } from '../../app/requests/replying.ts'
import { encodeBody, validateBody } from '../../app/send/body.ts'
import { outgoingPipeline } from '../../app/send/outgoing.ts'
import { checkRoundTrip } from '../../app/send/round-trip.ts'
import { checkCall, callName, destinationOf } from '../../app/send/send-calls.ts'
import { createSender, type Verb } from '../../app/send/sender.ts'
import type { HandlerContext } from '../../app/types.ts'
import { createAmbient } from '../../app/unit/ambient.ts'
import { savepointIn } from '../../app/unit/savepoints.ts'
import { Unit } from '../../app/unit/unit.ts'
import { MersalError } from '../../core/errors/errors.ts'
import {
  type Envelope,
  mainTransport,
  type MessageType,
  type OutgoingMessage,
} from '../../core/messages/message.ts'
import { jsonSerializer } from '../../core/messages/serializer.ts'
import type { Savepoint, Savepoints } from '../../core/store.ts'
import { silentLogger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'

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

/** One message that is handled: its context, and what was sent through it. */
export interface Sending {
  /** Runs the handler with the context. Throws as the unit of an app does. */
  run(handler: (context: HandlerContext<undefined>) => unknown): Promise<readonly SagaMessage[]>
  /** To be run when the message is handled. */
  readonly afterwards: readonly (() => unknown)[]
}

type Call = Pick<SagaMessage, 'kind' | 'options'> & { readonly type: MessageType }

/** Nothing is written, so nothing has to be undone. */
const savepoint: Savepoint = { release: () => Promise.resolve(), rollBack: () => Promise.resolve() }
const savepoints: Savepoints<undefined> = {
  open: () => Promise.resolve(savepoint),
  mark: () => undefined,
  kept: () => Promise.resolve(undefined),
}

/** A unit without database and broker. What is sent passes the checks of an app. */
export function createSending(message: Envelope, tx: unknown, clock: Clock): Sending {
  const ambient = createAmbient<undefined>()
  const unit = new Unit<undefined>(tx as undefined, {
    cause: message,
    level: () => ambient.getStore()?.level,
  })
  const calls = new WeakMap<OutgoingMessage, Call>()
  const outgoing = outgoingOf(clock)
  const note = (call: Call, body: unknown, to: OutgoingMessage['to']): Promise<string> =>
    unit.add(callName(call.kind === 'reply' ? 'send' : call.kind, call.type), async () => {
      const { contentType: _, ...type } = call.type
      const about = { ...call.options, type, body, to, cause: message, transaction: undefined }
      const made = await outgoing(about)
      calls.set(made, call)
      return made
    })
  const sender = createSender((kind: Verb, type, body, options) => {
    try {
      checkCall([kind, type, body, options])
      const to = destinationOf(ROUTING, kind, type, options?.to)
      return note({ kind, type, options: { ...options } }, body, to)
    } catch (error) {
      return unit.add(callName(kind, type), () => Promise.reject(error))
    }
  })
  const context = {
    tx: tx as undefined,
    tenant: undefined,
    message,
    attempt: 1,
    duplicate: false,
    signal: new AbortController().signal,
    ...sender,
    reply: (body: unknown): Promise<string> =>
      note({ kind: 'reply', type: replyType, options: {} }, body, NOWHERE),
    cancel: () => Promise.reject(notHere('cancel')),
    afterCommit: (work: () => unknown): void => unit.afterCommit(work),
    savepoint: savepointIn({ ambient, savepoints }, unit),
  }
  return {
    async run(handler) {
      try {
        await ambient.run({ unit, cause: message }, async () => handler(context))
        const sent = unit.close().map(({ message: one }) => shown(one, calls.get(one) as Call))
        return await Promise.all(sent)
      } finally {
        unit.end()
      }
    },
    get afterwards() {
      return unit.works
    },
  }
}

const NOWHERE: OutgoingMessage['to'] = {
  transport: mainTransport,
  kind: 'queue',
  name: 'rehearsal',
}

/** Every command has an owner, and every transport is there. */
const ROUTING: Parameters<typeof destinationOf>[0] = {
  ownQueue: NOWHERE.name,
  routes: new Map(),
  handles: () => true,
  transports: { has: () => true, keys: () => [] },
}

const SERIALIZERS = {
  contentTypes: [jsonSerializer.contentType],
  of: () => jsonSerializer,
  reader: () => jsonSerializer,
}

function outgoingOf(clock: Clock): ReturnType<typeof outgoingPipeline> {
  return outgoingPipeline({
    app: NOWHERE.name,
    tenant: undefined,
    clock,
    serializers: SERIALIZERS,
    inherit: [],
    codecs: [],
    wireFormat: undefined,
    logger: silentLogger,
    steps: [],
    limitOf: () => Number.POSITIVE_INFINITY,
    systemOf: () => NOWHERE.name,
    checkBodies: 'always',
  })
}

async function shown(sent: OutgoingMessage, { kind, type, options }: Call): Promise<SagaMessage> {
  const received = jsonSerializer.decode(sent.body)
  const body = await validateBody(type, received)
  return { kind, type: kind === 'reply' ? '' : type.name, body, options }
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
