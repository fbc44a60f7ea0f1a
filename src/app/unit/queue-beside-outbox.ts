import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type {
  OutboxStorage,
  SavedMessage,
  SaveOptions,
  Within,
  WriteWithin,
} from '../../core/outbox.ts'
import type { OpenToQueue, StraightRoad } from '../../core/straight.ts'
import { errorFields } from '../../core/errors/error-text.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Settings } from '../settings/settings.ts'

/** The outbox of an app, with the roads around it. */
export interface AppOutbox<Tx> {
  /**
   * As the storage that it was made of, except that `save` puts messages straight into their queue
   * where it can.
   */
  readonly storage: OutboxStorage<Tx>
  /**
   * Finds out which transport lives in the place of the outbox. Until then everything goes through
   * the outbox. Never rejects.
   */
  link(): Promise<void>
  /**
   * The transaction of these messages has committed: wakes consumers. Returns how many are in their
   * queues, and so no work for a relay.
   */
  committed(messages: readonly OutgoingMessage[], saved: readonly SavedMessage[]): number
  /**
   * They were written in a transaction whose end we do not see: `remind` wakes consumers for a
   * while.
   */
  written(messages: readonly OutgoingMessage[], saved: readonly SavedMessage[]): void
  remind(): void
}

interface Road {
  /** Name of the transport. */
  readonly to: string
  readonly road: StraightRoad
}

/**
 * What `save` answers for a message that is in its queue: no row, and nothing for the express lane.
 */
const inItsQueue: SavedMessage = { position: 0n, express: false }
/** A transport that is out of reach holds nobody up longer than this. */
const LINK_MS = 2000
/**
 * So long a transaction that we do not see is expected to commit; after that the poll of the
 * consumers finds it.
 */
const EXPECTED_MS = 1000

export function appOutbox<Tx>(
  storage: OutboxStorage<Tx>,
  { transports, logger, clock }: Pick<Settings<Tx>, 'transports' | 'logger' | 'clock'>,
): AppOutbox<Tx> {
  const { openToQueue } = storage
  const roads = [...transports].flatMap(([to, { straight }]) =>
    straight === undefined ? [] : [{ to, road: straight }],
  )
  let linked: Road | undefined
  if (openToQueue === undefined || roads.length === 0) {
    return {
      storage,
      link: () => Promise.resolve(),
      committed: () => 0,
      written: () => {},
      remind: () => {},
    }
  }
  const inQueues = (
    messages: readonly OutgoingMessage[],
    saved: readonly SavedMessage[],
  ): readonly OutgoingMessage[] => messages.filter((_, index) => saved[index] === inItsQueue)
  /** One message per destination stands for all of them. */
  const expected = new Map<string, { readonly message: OutgoingMessage; readonly until: number }>()
  const saveWithin = storage.saveWithin?.bind(storage)
  const toOutbox = (tx: Tx, options: SaveOptions | undefined): Within => ({
    run: (...statement) => openToQueue.query(tx, ...statement),
    save: (messages) => storage.save(tx, messages, options),
  })
  return {
    storage: {
      openToQueue,
      save: (tx, messages, options) =>
        linked === undefined
          ? storage.save(tx, messages, options)
          : straightWrite(linked)(toOutbox(tx, options), messages),
      saveLast: (tx, messages, options) =>
        linked === undefined || beforeOthersOfTheirKey(messages, linked.to).length === 0
          ? storage.saveLast?.(tx, messages, options)
          : undefined,
      ...(saveWithin === undefined
        ? {}
        : {
            saveWithin: (tx, messages) =>
              saveWithin(tx, messages, linked === undefined ? undefined : straightWrite(linked)),
          }),
      claim: (request) => storage.claim(request),
      settle: (settlements) => storage.settle(settlements),
      ...(storage.renew === undefined
        ? {}
        : { renew: (claims, options) => storage.renew?.(claims, options) ?? Promise.resolve() }),
      prune: (options) => storage.prune(options),
      ...(storage.clock === undefined ? {} : { clock: storage.clock }),
    },
    async link() {
      const timer = new AbortController()
      const finding = find(openToQueue, roads, logger).then((found) => void (linked ??= found))
      await Promise.race([finding, clock.sleep(LINK_MS, timer.signal)])
      timer.abort('done')
    },
    committed(messages, saved) {
      const straight = inQueues(messages, saved)
      if (straight.length > 0) linked?.road.committed(straight)
      return straight.length
    },
    written(messages, saved) {
      const until = clock.monotonic() + EXPECTED_MS
      for (const message of inQueues(messages, saved))
        expected.set(destinationKey(message.to), { message, until })
    },
    remind() {
      if (expected.size > 0)
        linked?.road.committed([...expected.values()].map(({ message }) => message))
      for (const [key, { until }] of expected) if (until < clock.monotonic()) expected.delete(key)
    },
  }
}

/** At most one: two transports in one place are two names of the same queues. */
async function find<Tx>(
  outbox: OpenToQueue<Tx>,
  roads: readonly Road[],
  logger: Logger,
): Promise<Road | undefined> {
  for (const { to, road } of roads) {
    try {
      const [here, there] = await Promise.all([outbox.place(), road.place()])
      if (here === there) return { to, road }
    } catch (error) {
      logger.warn(
        { transport: to, ...errorFields(error) },
        'whether the queue is next to the outbox cannot be told; its messages go through the outbox',
      )
    }
  }
  return undefined
}

/**
 * What can go straight goes first, since it locks the keys of all; the rest goes to the outbox, in
 * its order.
 */
function straightWrite({ to, road }: Road): WriteWithin {
  return async ({ run, save }, messages) => {
    const candidates = beforeOthersOfTheirKey(messages, to)
    if (candidates.length === 0) return save(messages)
    const keys = [...new Set(messages.flatMap(({ partitionKey }) => partitionKey ?? []))]
    const taken = await road.put(run, candidates, keys)
    const straight = new Set(candidates.filter((_, index) => taken[index] === true))
    const rest = messages.filter((message) => !straight.has(message))
    const saved = rest.length === 0 ? [] : await save(rest)
    let next = 0
    return messages.map((message) =>
      straight.has(message) ? inItsQueue : (saved[next++] as SavedMessage),
    )
  }
}

/**
 * A message whose key has one for another transport before it, in the same call, waits behind that
 * one.
 */
function beforeOthersOfTheirKey(
  messages: readonly OutgoingMessage[],
  to: string,
): OutgoingMessage[] {
  const behind = new Set<string>()
  return messages.filter((message) => {
    const { partitionKey } = message
    const goes =
      message.to.transport === to && (partitionKey === undefined || !behind.has(partitionKey))
    if (!goes && partitionKey !== undefined) behind.add(partitionKey)
    return goes
  })
}
