import type { DeadLetterBox } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { DocumentKey } from '../../core/records/documents.ts'
import type { Envelope } from '../../core/messages/message.ts'
import { checkNumber, checkOptions } from '../../core/options.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { systemClock, systemRandom } from '../../lib/async/clock.ts'
import { serializersOf } from '../contracts/serializers.ts'
import { outgoingPipeline } from '../send/outgoing.ts'
import { type ChangeDocument, collector, keyOf, stateOf, tryOnce, type Updated } from './change.ts'
import type { DocumentType } from './definition.ts'
import { type DocumentsOptions, documentsSettings } from './options.ts'

/** Options of `update()`. */
export interface UpdateOptions {
  /**
   * The message that is being handled: its effect on this document happens once, however often it
   * is delivered. Default: no message is handled.
   */
  readonly handling?: Envelope
  /** Tries while others change the same document. From 1 to 10,000. Default 20. */
  readonly tries?: number
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

/** A pause before the next try, so that two who meet do not meet again. */
const MEETING = { firstMs: 2, longestMs: 100 }

/**
 * Aggregates of a database that writes one record at a time, with their messages in the same
 * record. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function documents(options: DocumentsOptions): Documents {
  const { name, storage, transports, routing, relay, logger } = documentsSettings(options)
  const make = outgoingPipeline({
    tenant: undefined,
    app: name,
    clock: systemClock,
    serializers: serializersOf({}),
    codecs: [],
    wireFormat: undefined,
    inherit: [],
    logger,
    steps: [],
    checkBodies: 'first',
    limitOf: (transport) => transports.get(transport)?.features.maxMessageBytes ?? Infinity,
    systemOf: (transport) => transports.get(transport)?.name ?? transport,
  })
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
      return stateOf((await storage.load(keyOf(type, id))).state) as State | undefined
    },
    async update(type, id, change, options = {}) {
      checkOptions('update()', options, ['handling', 'tries'])
      const { handling } = options
      const bounds = { default: 20, min: 1, max: 10_000 }
      const tries = checkNumber('update().tries', options.tries, bounds)
      const key = keyOf(type, id)
      const inbox = handling === undefined ? undefined : { consumer: name, messageId: handling.id }
      const updated = await withoutConflict(key, tries, () =>
        tryOnce(storage, type, key, change, collector(make, routing, key, handling), inbox),
      )
      relay.ring()
      return updated
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

/** Tries until nobody else has changed the document meanwhile, at most this many times. */
async function withoutConflict<State>(
  { collection, id }: DocumentKey,
  tries: number,
  attempt: () => Promise<Updated<State> | 'conflict'>,
): Promise<Updated<State>> {
  for (let tried = 1; tried <= tries; tried++) {
    const updated = await attempt()
    if (updated !== 'conflict') return updated
    await systemClock.sleep(backoffMs(MEETING, tried, systemRandom))
  }
  throw new MersalError(
    'MERSAL_STORE_CONFLICT',
    `the document ${collection}/${id} was changed by others ${tries} times: try again later`,
  )
}
