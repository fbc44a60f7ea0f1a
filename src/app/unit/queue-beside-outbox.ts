import { errorFields } from '../../core/errors/error-text.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type {
  OutboxStorage,
  SavedMessage,
  SavedRow,
  SaveOptions,
  Within,
  WrittenRow,
  WriteWithin,
} from '../../core/outbox.ts'
import type { OpenToQueue, QueueBesideOutbox } from '../../core/queue-beside-outbox.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Settings } from '../settings/settings.ts'

/** The outbox of an app. Messages for a queue in the same place go straight into that queue. */
export interface AppOutbox<Tx> {
  /**
   * As the storage that it was made of, except that `save` puts messages straight into their queue
   * where it can.
   */
  readonly storage: AppStorage<Tx>
  /**
   * Finds out which transport lives in the place of the outbox. Until then everything goes through
   * the outbox. Never rejects.
   */
  link(): Promise<void>
  /**
   * Wakes the consumers of messages whose transaction has committed. Returns how many of the
   * messages are in their queues, and so no work for a relay.
   */
  committed(
    messages: readonly OutgoingMessage[],
    saved: readonly (SavedMessage | WrittenRow)[],
  ): number
  /**
   * Notes messages that were written in a transaction whose end we do not see. For a while `remind`
   * wakes their consumers.
   */
  written(messages: readonly OutgoingMessage[], saved: readonly SavedMessage[]): void
  remind(): void
}

/** As an outbox storage, except that what it saves may be in a queue. */
export interface AppStorage<Tx> extends Omit<OutboxStorage<Tx>, 'save'> {
  save(
    tx: Tx,
    messages: readonly OutgoingMessage[],
    options?: SaveOptions,
  ): Promise<readonly SavedMessage[]>
}

interface Beside {
  /** Name of the transport. */
  readonly transport: string
  readonly queue: QueueBesideOutbox
}

const inQueue: SavedMessage = { kind: 'in-queue' }
/** How long a transport that cannot be reached holds up the start, in milliseconds. */
const LINK_MS = 2000
/**
 * How long a transaction that we do not see is expected to commit, in milliseconds. After that the
 * poll of the consumers finds its messages.
 */
const EXPECTED_MS = 1000

type Ports = Pick<Settings<never>, 'transports' | 'logger' | 'clock'>

export function appOutbox<Tx>(storage: OutboxStorage<Tx>, ports: Ports): AppOutbox<Tx> {
  const { openToQueue } = storage
  const queues = [...ports.transports].flatMap(([transport, { straight: queue }]) =>
    queue === undefined ? [] : [{ transport, queue }],
  )
  if (openToQueue === undefined || queues.length === 0) return alone(storage)
  return new OutboxBesideQueues(storage, openToQueue, queues, ports)
}

function alone<Tx>(storage: OutboxStorage<Tx>): AppOutbox<Tx> {
  return {
    storage,
    link: () => Promise.resolve(),
    committed: () => 0,
    written: () => {},
    remind: () => {},
  }
}

class OutboxBesideQueues<Tx> implements AppOutbox<Tx> {
  readonly storage: AppStorage<Tx>
  readonly #openToQueue: OpenToQueue<Tx>
  readonly #queues: readonly Beside[]
  readonly #ports: Ports
  /** One message per destination stands for all of them. */
  readonly #expected = new Map<
    string,
    { readonly message: OutgoingMessage; readonly until: number }
  >()
  #beside: Beside | undefined

  constructor(
    storage: OutboxStorage<Tx>,
    openToQueue: OpenToQueue<Tx>,
    queues: readonly Beside[],
    ports: Ports,
  ) {
    this.storage = this.#through(storage)
    this.#openToQueue = openToQueue
    this.#queues = queues
    this.#ports = ports
  }

  async link(): Promise<void> {
    const { clock, logger } = this.#ports
    const timer = new AbortController()
    const finding = find(this.#openToQueue, this.#queues, logger).then(
      (found) => void (this.#beside ??= found),
    )
    await Promise.race([finding, clock.sleep(LINK_MS, timer.signal)])
    timer.abort('done')
  }

  committed(
    messages: readonly OutgoingMessage[],
    saved: readonly (SavedMessage | WrittenRow)[],
  ): number {
    const queued = inQueues(messages, saved)
    if (queued.length > 0) this.#beside?.queue.committed(queued)
    return queued.length
  }

  written(messages: readonly OutgoingMessage[], saved: readonly SavedMessage[]): void {
    const until = this.#ports.clock.monotonic() + EXPECTED_MS
    for (const message of inQueues(messages, saved))
      this.#expected.set(destinationKey(message.to), { message, until })
  }

  remind(): void {
    const expected = [...this.#expected.values()].map(({ message }) => message)
    if (expected.length > 0) this.#beside?.queue.committed(expected)
    const now = this.#ports.clock.monotonic()
    for (const [key, { until }] of this.#expected) if (until < now) this.#expected.delete(key)
  }

  #through(storage: OutboxStorage<Tx>): AppStorage<Tx> {
    const { clock, waiting, openToQueue } = storage
    const saveWithin = storage.saveWithin?.bind(storage)
    const renew = storage.renew?.bind(storage)
    return {
      ...(openToQueue === undefined ? {} : { openToQueue }),
      save: (tx, messages, options) => this.#save(storage, tx, messages, options),
      saveLast: (tx, messages, options) =>
        this.#hasCandidates(messages) ? undefined : storage.saveLast?.(tx, messages, options),
      ...(saveWithin === undefined
        ? {}
        : {
            saveWithin: (tx, messages) =>
              saveWithin(tx, messages, this.#beside && writeBeside(this.#beside)),
          }),
      claim: (request) => storage.claim(request),
      settle: (settlements) => storage.settle(settlements),
      ...(renew === undefined ? {} : { renew }),
      prune: (options) => storage.prune(options),
      ...(clock === undefined ? {} : { clock }),
      ...(waiting === undefined ? {} : { waiting }),
    }
  }

  #hasCandidates(messages: readonly OutgoingMessage[]): boolean {
    const beside = this.#beside
    return beside !== undefined && candidates(messages, beside.transport).length > 0
  }

  #save(
    storage: OutboxStorage<Tx>,
    tx: Tx,
    messages: readonly OutgoingMessage[],
    options: SaveOptions | undefined,
  ): Promise<readonly SavedMessage[]> {
    if (this.#beside === undefined) return storage.save(tx, messages, options)
    const within: Within = {
      run: (...statement) => this.#openToQueue.query(tx, ...statement),
      save: (rest) => storage.save(tx, rest, options),
    }
    return writeBeside(this.#beside)(within, messages)
  }
}

function inQueues(
  messages: readonly OutgoingMessage[],
  saved: readonly (SavedMessage | WrittenRow)[],
): readonly OutgoingMessage[] {
  return messages.filter((_, index) => saved[index]?.kind === 'in-queue')
}

/** Finds at most one: two transports in one place are two names of the same queues. */
async function find<Tx>(
  outbox: OpenToQueue<Tx>,
  queues: readonly Beside[],
  logger: Logger,
): Promise<Beside | undefined> {
  for (const beside of queues) {
    try {
      const [here, there] = await Promise.all([outbox.place(), beside.queue.place()])
      if (here === there) return beside
    } catch (error) {
      logger.warn(
        { transport: beside.transport, ...errorFields(error) },
        'the app could not find out whether the queue is in the place of the outbox; its messages go through the outbox',
      )
    }
  }
  return undefined
}

/**
 * Writes into the queue first, since that locks the keys of all messages, then the rest into the
 * outbox, in its order.
 */
function writeBeside({ transport, queue }: Beside): WriteWithin {
  return async ({ run, save }, messages) => {
    const first = candidates(messages, transport)
    if (first.length === 0) return save(messages)
    const keys = [...new Set(messages.flatMap(({ partitionKey }) => partitionKey ?? []))]
    const taken = await queue.put(run, first, keys)
    const queued = new Set(first.filter((_, index) => taken[index] === true))
    const rest = messages.filter((message) => !queued.has(message))
    const saved = rest.length === 0 ? [] : await save(rest)
    let next = 0
    return messages.map((message) => (queued.has(message) ? inQueue : (saved[next++] as SavedRow)))
  }
}

/**
 * The messages that may go into the queues of this transport. A message does not if an earlier one
 * of its key goes elsewhere, since it has to wait behind that one.
 */
function candidates(messages: readonly OutgoingMessage[], transport: string): OutgoingMessage[] {
  const behind = new Set<string>()
  return messages.filter(({ to, partitionKey, delayMs }) => {
    const isFree = partitionKey === undefined || !behind.has(partitionKey)
    // A delayed one waits in the outbox, where it can be cancelled.
    const goes = to.transport === transport && isFree && delayMs === undefined
    if (!goes && partitionKey !== undefined) behind.add(partitionKey)
    return goes
  })
}
