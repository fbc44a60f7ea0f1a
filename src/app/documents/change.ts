import type {
  DocumentHandling,
  DocumentKey,
  DocumentStorage,
} from '../../core/records/documents.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Given } from '../../core/messages/given.ts'
import type {
  CommandType,
  Envelope,
  EventType,
  MessageType,
  OutgoingMessage,
} from '../../core/messages/message.ts'
import { jsonSerializer } from '../../core/messages/serializer.ts'
import { invalidOption } from '../../core/options.ts'
import { validateBody } from '../send/body.ts'
import { checkMessageType } from '../send/messages.ts'
import type { OutgoingRequest } from '../send/outgoing.ts'
import { ownerOf, type RoutingFacts, topicOf } from '../send/routing.ts'
import type { DocumentType } from './definition.ts'

/** Sends that are stored with the state. Nothing happens if the change is made again or fails. */
export interface DocumentSender {
  publish<Body>(this: void, type: EventType<Body>, body: Given<Body>): void
  send<Body>(this: void, type: CommandType<Body>, body: Given<Body>): void
}

/**
 * Makes the next state of the present one; undefined removes it, or leaves it out. Runs again when
 * somebody else was faster, so it changes nothing but what it returns.
 */
export type ChangeDocument<State> = (
  state: State | undefined,
  sender: DocumentSender,
) => State | undefined | Promise<State | undefined>

/** `handled`: that very message had changed the document before, and nothing was changed now. */
export interface Updated<State> {
  readonly kind: 'saved' | 'handled'
  readonly state: State | undefined
  readonly version: number
}

/** Decoded, or undefined without a state. */
export function stateOf(bytes: Uint8Array | undefined): unknown {
  return bytes === undefined ? undefined : jsonSerializer.decode(bytes)
}

export function keyOf({ kind, name }: DocumentType, id: string): DocumentKey {
  if (kind !== 'document') throw invalidOption('type', 'expected what document() has made')
  if (typeof id !== 'string' || id === '' || id.length > 500 || !id.isWellFormed())
    throw invalidOption('id', 'expected a text of 1 to 500 characters')
  return { collection: name, id }
}

export interface Collected {
  readonly sender: DocumentSender
  readonly messages: () => Promise<readonly OutgoingMessage[]>
}

/** The id of the document is the key of its messages: they keep their order everywhere. */
export function collector(
  make: (request: OutgoingRequest) => OutgoingMessage | Promise<OutgoingMessage>,
  routing: RoutingFacts,
  { collection, id }: DocumentKey,
  cause: Envelope | undefined,
): Collected {
  const made: (OutgoingMessage | Promise<OutgoingMessage>)[] = []
  let open = true
  const partitionKey =
    Buffer.byteLength(`${collection}/${id}`) <= 255 ? `${collection}/${id}` : undefined
  const add = (verb: 'send' | 'publish', type: MessageType, body: unknown): void => {
    if (!open) throw new MersalError('MERSAL_UNIT_ENDED', `${verb}(): the change has ended`)
    checkMessageType(`${verb}()`, type, verb === 'send' ? 'command' : 'event')
    const to = verb === 'send' ? ownerOf(routing, type) : topicOf(routing, type)
    const message = make({ type, body, to, partitionKey, cause, transaction: undefined })
    // Awaited below; a change that throws first leaves it alone.
    if (message instanceof Promise) message.catch(() => {})
    made.push(message)
  }
  return {
    sender: {
      publish: (type, body) => add('publish', type, body),
      send: (type, body) => add('send', type, body),
    },
    messages() {
      open = false
      return Promise.all(made.map(async (one) => one))
    },
  }
}

export async function tryOnce<State>(
  storage: DocumentStorage,
  type: DocumentType<State>,
  key: DocumentKey,
  change: ChangeDocument<State>,
  { sender, messages }: Collected,
  handling: DocumentHandling | undefined,
): Promise<Updated<State> | 'conflict'> {
  const { state: bytes, version, handled } = await storage.load(key, handling)
  const before = stateOf(bytes) as State | undefined
  if (handled) return { kind: 'handled', state: before, version }
  const next = await change(before, sender)
  const checked = await checkState(type, next)
  const state = checked === undefined ? undefined : jsonSerializer.encode(checked)
  const outgoing = await messages()
  const nothing = state === undefined && bytes === undefined && outgoing.length === 0
  if (nothing && handling === undefined) return { kind: 'saved', state: undefined, version }
  const saved = await storage.save({ key, version, state, messages: outgoing, handling })
  switch (saved) {
    case 'saved':
      return { kind: 'saved', state: checked as State | undefined, version: version + 1 }
    case 'handled':
      return { kind: 'handled', state: before, version }
    case 'conflict':
      return 'conflict'
    default:
      return saved satisfies never
  }
}

/** As the schema has it; undefined: the document is to have no state. */
async function checkState({ name, schema }: DocumentType, state: unknown): Promise<unknown> {
  if (state === undefined) return undefined
  const type = { kind: 'event', name, ...(schema === undefined ? {} : { schema }) } as const
  return await validateBody(type, state)
}
