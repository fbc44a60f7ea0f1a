import type { DeadLetterBox } from '../../core/dead-letter.ts'
import type { DocumentHandling, DocumentKey, DocumentStorage } from '../../core/documents.ts'
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
import { isQueueName, queueNameRule } from '../../core/messages/validation.ts'
import {
  checkBackoff,
  checkNumber,
  checkOptions,
  checkShape,
  checkTransports,
  invalidOption,
} from '../../core/options.ts'
import { type Logger, silentLogger, stderrLogger } from '../../core/telemetry.ts'
import type { Transport } from '../../core/transport.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import { systemClock, systemRandom } from '../../lib/async/clock.ts'
import { validateBody } from '../send/body.ts'
import { checkMessageType } from '../send/messages.ts'
import { type OutgoingRequest, outgoingPipeline } from '../send/outgoing.ts'
import { ownerOf, type RoutingFacts, topicOf } from '../send/routing.ts'
import type { DocumentType } from './definition.ts'
import { DocumentRelay } from './relay.ts'

export interface DocumentsOptions {
  /** Names the sender in headers, and the consumer in the inbox. */
  readonly name: string
  readonly storage: DocumentStorage
  readonly transport: Transport
  /** Further transports by name. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /** The queue of the app that owns a command, by the name of the command. */
  readonly routes?: Readonly<Record<string, string>>
  /** The relay looks at least this often, in milliseconds. Default 1000. */
  readonly pollIntervalMs?: number
  /** Documents whose messages are published at the same time. Default 50. */
  readonly concurrency?: number
  /** A relay that has died gives its documents to others after this time. Default 15000. */
  readonly holdMs?: number
  /** A message that was refused so often becomes a dead letter. Default 10. */
  readonly maxAttempts?: number
  /** Waiting time after a refusal. Default 1 s, doubling, at most 5 minutes. */
  readonly retry?: Backoff
  /** Default: warnings and errors as JSON lines on standard error. `false`: silence. */
  readonly logger?: Logger | false
}

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

export interface UpdateOptions {
  /**
   * The message that is being handled: its effect on this document happens once, however often it
   * is delivered.
   */
  readonly handling?: Envelope
  /** Tries while others change the same document. Default 20. */
  readonly tries?: number
}

/** `handled`: that very message had changed the document before, and nothing was changed now. */
export interface Updated<State> {
  readonly kind: 'saved' | 'handled'
  readonly state: State | undefined
  readonly version: number
}

export interface Documents extends AsyncDisposable {
  /**
   * Stores the next state and what the change sends in one write. Throws what the change throws,
   * `MERSAL_STORE_CONFLICT` when others were faster each time, `MERSAL_COMMIT_UNKNOWN`, and what a
   * send throws.
   */
  update<State>(
    type: DocumentType<State>,
    id: string,
    change: ChangeDocument<State>,
    options?: UpdateOptions,
  ): Promise<Updated<State>>
  load<State>(type: DocumentType<State>, id: string): Promise<State | undefined>
  /** Begins to publish what is stored. */
  start(): void
  /** Finishes what is in hand, and publishes nothing more. */
  stop(): Promise<void>
  /** Publishes what is due now, and returns. */
  drain(): Promise<void>
  readonly deadLetters: DeadLetterBox
}

const known = [
  'name',
  'storage',
  'transport',
  'bridges',
  'routes',
  'pollIntervalMs',
  'concurrency',
  'holdMs',
  'maxAttempts',
  'retry',
  'logger',
] satisfies (keyof DocumentsOptions)[]

/** A pause before the next try, so that two who meet do not meet again. */
const MEETING = { firstMs: 2, longestMs: 100 }

function checkName(name: unknown): string {
  if (!isQueueName(name)) throw invalidOption('documents.name', `expected ${queueNameRule}`)
  return name
}

function relayFor(
  options: DocumentsOptions,
  transports: ReadonlyMap<string, Transport>,
): DocumentRelay {
  const number = (field: keyof DocumentsOptions, preset: number, max: number, min = 1): number =>
    checkNumber(`documents.${field}`, options[field], { default: preset, min, max })
  const { logger } = options
  if (logger !== undefined && logger !== false)
    checkShape('documents.logger', logger, ['debug', 'info', 'warn', 'error'])
  return new DocumentRelay({
    storage: options.storage,
    transports,
    pollIntervalMs: number('pollIntervalMs', 1000, 3_600_000),
    concurrency: number('concurrency', 50, 10_000),
    holdMs: number('holdMs', 15_000, 3_600_000, 100),
    maxAttempts: number('maxAttempts', 10, 1_000_000),
    retry: checkBackoff('documents.retry', options.retry, {
      preset: { firstMs: 1000, longestMs: 300_000 },
      leastMs: 1,
    }),
    logger: logger === false ? silentLogger : (logger ?? stderrLogger),
    clock: systemClock,
    random: systemRandom,
  })
}

function routingOf(routes: DocumentsOptions['routes']): RoutingFacts {
  if (routes !== undefined) checkOptions('documents.routes', routes, Object.keys(routes))
  const entries = Object.entries(routes ?? {}).map(
    ([type, queue]) => [type, { queue, transport: undefined }] as const,
  )
  return { ownQueue: undefined, routes: new Map(entries), handles: () => false }
}

/** Decoded, or undefined without a state. */
function stateOf<State>(bytes: Uint8Array | undefined): State | undefined {
  return bytes === undefined ? undefined : (jsonSerializer.decode(bytes) as State)
}

/**
 * Aggregates of a database that writes one record at a time, with their messages in the same
 * record. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function documents(options: DocumentsOptions): Documents {
  checkOptions('documents', options, known)
  const { storage } = options
  const methods = ['load', 'save', 'findWithMessages', 'removeMessages']
  checkShape('documents.storage', storage, methods)
  const name = checkName(options.name)
  const transports = checkTransports('documents.', options)
  if (options.transport === undefined) throw invalidOption('documents.transport', 'is missing')
  const relay = relayFor(options, transports)
  const make = outgoingPipeline({
    app: name,
    clock: systemClock,
    serializer: jsonSerializer,
    steps: [],
    checkBodies: 'first',
    limitOf: (transport) => transports.get(transport)?.features.maxMessageBytes ?? Infinity,
  })
  const routing = routingOf(options.routes)
  let stopping = new AbortController()
  let running: Promise<void> | undefined

  async function stop(): Promise<void> {
    stopping.abort()
    await running
    running = undefined
  }

  return {
    deadLetters: storage.deadLetters,
    async load<State>(type: DocumentType<State>, id: string) {
      return stateOf<State>((await storage.load(keyOf(type, id))).state)
    },
    async update(type, id, change, { handling, tries = 20 } = {}) {
      const key = keyOf(type, id)
      const collect = (): Collected => collector(make, routing, key, handling)
      const inbox = handling === undefined ? undefined : { consumer: name, messageId: handling.id }
      for (let tried = 1; tried <= tries; tried++) {
        const updated = await tryOnce(storage, type, key, change, collect(), inbox)
        if (updated !== 'conflict') {
          relay.ring()
          return updated
        }
        await systemClock.sleep(backoffMs(MEETING, tried, systemRandom))
      }
      throw new MersalError(
        'MERSAL_STORE_CONFLICT',
        `the document ${key.collection}/${key.id} was changed by others ${tries} times: try again later`,
      )
    },
    start() {
      if (running !== undefined) return
      stopping = new AbortController()
      running = relay.run(stopping.signal)
    },
    stop,
    drain: () => relay.drain(),
    [Symbol.asyncDispose]: stop,
  }
}

function keyOf({ kind, name }: DocumentType, id: string): DocumentKey {
  if (kind !== 'document') throw invalidOption('type', 'expected what document() has made')
  if (typeof id !== 'string' || id === '' || id.length > 500 || !id.isWellFormed())
    throw invalidOption('id', 'expected a text of 1 to 500 characters')
  return { collection: name, id }
}

interface Collected {
  readonly sender: DocumentSender
  readonly messages: () => Promise<readonly OutgoingMessage[]>
}

/** The id of the document is the key of its messages: they keep their order everywhere. */
function collector(
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
      return Promise.all(made)
    },
  }
}

async function tryOnce<State>(
  storage: DocumentStorage,
  type: DocumentType<State>,
  key: DocumentKey,
  change: ChangeDocument<State>,
  { sender, messages }: Collected,
  handling: DocumentHandling | undefined,
): Promise<Updated<State> | 'conflict'> {
  const { state: bytes, version, handled } = await storage.load(key, handling)
  const before = stateOf<State>(bytes)
  if (handled) return { kind: 'handled', state: before, version }
  const next = await change(before, sender)
  const body = type.schema === undefined ? {} : { schema: type.schema }
  const checked =
    next === undefined
      ? undefined
      : await validateBody({ kind: 'event', name: type.name, ...body }, next)
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
