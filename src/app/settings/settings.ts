import {
  checkBackoff,
  checkBoolean,
  checkChoice,
  checkDisposable,
  checkNumber,
  checkOptions,
  checkShape,
  checkTransports,
  invalidOption,
} from '../../core/options.ts'
import type { OutboxStorage, Waker } from '../../core/outbox.ts'
import type { IncomingStep, OutgoingStep } from '../../core/pipeline.ts'
import { type Serializer, jsonSerializer } from '../../core/messages/serializer.ts'
import type { Savepoints, SharedUnits, Store, UnitCapacity, UnitOfWork } from '../../core/store.ts'
import { type Logger, silentLogger, stderrLogger } from '../../core/telemetry.ts'
import type { MessageTracker } from '../../core/tracker.ts'
import type { Transport } from '../../core/transport.ts'
import {
  contentTypeRule,
  isContentType,
  isQueueName,
  queueNameRule,
} from '../../core/messages/validation.ts'
import type { Backoff } from '../../lib/async/backoff.ts'
import { type Clock, type Random, systemClock, systemRandom } from '../../lib/async/clock.ts'
import { type RelaySettings, relaySettings } from '../../outbox/options.ts'
import { longestRetriesMs } from '../receive/retry.ts'
import type { CheckBodies } from '../send/outgoing.ts'
import type { RouteEntry } from '../send/routing.ts'
import { checkRoutes, checkSteps } from './checks.ts'
import type { MersalOptions, ReceiveOptions } from '../types.ts'

/** Options with every default filled in. */
export interface Settings<Tx> {
  readonly name: string
  readonly sendOnly: boolean
  readonly ambientSends: boolean
  /** By name; the main one is called `default`. */
  readonly transports: ReadonlyMap<string, Transport>
  readonly routes: ReadonlyMap<string, RouteEntry>
  readonly store: Store<Tx> | undefined
  readonly unitOfWork: UnitOfWork<Tx> | undefined
  readonly sharing: SharedUnits<Tx> | undefined
  /** Undefined where units of work are those of the user, or take no connections. */
  readonly units: UnitCapacity | undefined
  readonly savepoints: Savepoints<Tx> | undefined
  readonly storage: OutboxStorage<Tx> | undefined
  readonly tracker: MessageTracker<Tx> | undefined
  readonly onDuplicate: 'skip' | 'flag'
  readonly retentionMs: number
  readonly relay: RelaySettings
  readonly runRelay: boolean
  readonly wakers: readonly Waker[]
  readonly receive: ReceiveSettings
  readonly stopGraceMs: number
  readonly incoming: readonly IncomingStep[]
  readonly outgoing: readonly OutgoingStep[]
  readonly serializer: Serializer
  readonly checkBodies: CheckBodies
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
}

export interface ReceiveSettings {
  readonly concurrency: number
  /** The concurrency that the user asked for. */
  readonly asked: number | undefined
  readonly handlerTimeoutMs: number
  readonly immediateRetries: number
  readonly maxDeliveries: number
  readonly backoff: Backoff
  readonly giveUpAfterMs: number
}

const known = [
  'name',
  'transport',
  'store',
  'unitOfWork',
  'outbox',
  'idempotency',
  'routes',
  'bridges',
  'ambientSends',
  'sendOnly',
  'receive',
  'stopGraceMs',
  'incoming',
  'outgoing',
  'serializer',
  'checkBodies',
  'logger',
  'clock',
  'random',
] as const satisfies readonly (keyof MersalOptions<unknown>)[]

const DAY = 86_400_000

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything that could not work. */
export function appSettings<Tx>(options: MersalOptions<Tx>): Settings<Tx> {
  checkOptions('options', options, known)
  if (!isQueueName(options.name))
    throw invalidOption('name', `expected ${queueNameRule}; it also names the input queue`)
  const transports = transportsOf(options)
  const given = receiveSettings(options.receive)
  const { receive, ...inbox } = idempotencyParts(options, given)
  return {
    name: options.name,
    sendOnly: checkBoolean('sendOnly', options.sendOnly) ?? false,
    ambientSends: checkBoolean('ambientSends', options.ambientSends) ?? true,
    transports,
    routes: checkRoutes(options.routes, transports),
    ...databaseParts(options),
    ...inbox,
    receive,
    stopGraceMs: checkNumber('stopGraceMs', options.stopGraceMs, {
      default: 8000,
      min: 0,
      max: 3_600_000,
    }),
    incoming: checkSteps('incoming', options.incoming),
    outgoing: checkSteps('outgoing', options.outgoing),
    checkBodies: checkChoice(
      'checkBodies',
      options.checkBodies,
      ['always', 'first', 'never'],
      developing() ? 'first' : 'never',
    ),
    ...tools(options),
  }
}

function transportsOf<Tx>(options: MersalOptions<Tx>): ReadonlyMap<string, Transport> {
  if (options.transport === undefined) {
    throw invalidOption(
      'transport',
      'is missing: give a broker, such as sqliteQueue() of mersal/sqlite or rabbitmq() of mersal/rabbitmq',
    )
  }
  return checkTransports('', options)
}

type DatabaseParts<Tx> = Pick<
  Settings<Tx>,
  | 'store'
  | 'unitOfWork'
  | 'sharing'
  | 'units'
  | 'savepoints'
  | 'storage'
  | 'relay'
  | 'runRelay'
  | 'wakers'
>

function databaseParts<Tx>({
  store,
  unitOfWork,
  outbox = {},
}: MersalOptions<Tx>): DatabaseParts<Tx> {
  if (store !== undefined) {
    checkShape('store', store, ['unitOfWork', 'open'])
    checkDisposable('store', store)
    checkShape('store.outbox', store.outbox, ['save', 'claim', 'settle', 'prune'])
    checkShape('store.tracker', store.tracker, ['track', 'prune'])
  }
  checkOptions('outbox', outbox, ['storage', 'relay', 'runRelay', 'wakers'])
  if (unitOfWork !== undefined && typeof unitOfWork !== 'function')
    throw invalidOption('unitOfWork', 'expected a function')
  if (outbox.storage !== undefined)
    checkShape('outbox.storage', outbox.storage, ['save', 'claim', 'settle', 'prune'])
  const storage = outbox.storage ?? store?.outbox
  if (storage === undefined && unitOfWork !== undefined) {
    throw invalidOption(
      'unitOfWork',
      'needs outbox.storage (or a store), else messages would not belong to the unit',
    )
  }
  if (storage === undefined && Object.keys(outbox).length > 0)
    throw invalidOption('outbox', 'needs outbox.storage, or a store')
  return {
    store,
    unitOfWork: unitOfWork ?? store?.unitOfWork,
    sharing: unitOfWork === undefined ? store?.sharing : undefined,
    units: unitOfWork === undefined ? store?.units : undefined,
    savepoints: unitOfWork === undefined ? store?.savepoints : undefined,
    storage,
    relay: relaySettings(outbox.relay),
    runRelay: checkBoolean('outbox.runRelay', outbox.runRelay) ?? true,
    wakers: [...(store?.wakers ?? []), ...(outbox.wakers ?? [])],
  }
}

type IdempotencyParts<Tx> = Pick<
  Settings<Tx>,
  'tracker' | 'onDuplicate' | 'retentionMs' | 'receive'
>

function idempotencyParts<Tx>(
  options: MersalOptions<Tx>,
  given: GivenReceive,
): IdempotencyParts<Tx> {
  const { idempotency, store, unitOfWork } = options
  if (idempotency !== undefined)
    checkOptions('idempotency', idempotency, ['tracker', 'onDuplicate', 'retentionMs'])
  const tracker = idempotency?.tracker ?? store?.tracker
  if (idempotency !== undefined && tracker === undefined)
    throw invalidOption('idempotency', 'needs idempotency.tracker, or a store')
  if (tracker !== undefined) checkShape('idempotency.tracker', tracker, ['track', 'prune'])
  if (tracker !== undefined && store === undefined && unitOfWork === undefined) {
    throw invalidOption(
      'idempotency.tracker',
      'needs unitOfWork (or a store): its record belongs to the transaction of the handler',
    )
  }
  const retentionMs = checkNumber('idempotency.retentionMs', idempotency?.retentionMs, {
    default: 7 * DAY,
    min: 1,
    max: 3650 * DAY,
  })
  const onDuplicate = checkChoice(
    'idempotency.onDuplicate',
    idempotency?.onDuplicate,
    ['skip', 'flag'],
    'skip',
  )
  const limit = tracker === undefined ? Number.POSITIVE_INFINITY : retentionMs
  return {
    tracker,
    onDuplicate,
    retentionMs,
    receive: { ...given, giveUpAfterMs: giveUpAfterMs(given, limit) },
  }
}

/** A duplicate that comes later than the inbox remembers would be handled twice. */
function giveUpAfterMs(given: GivenReceive, retentionMs: number): number {
  const retries = Math.ceil(longestRetriesMs(given, given.handlerTimeoutMs))
  const wishes = given.giveUpAfterMs ?? Math.max(0, Math.min(7 * DAY, retentionMs - retries))
  if (retentionMs >= retries + wishes) return wishes
  const text = `${retentionMs} ms is shorter than the longest redelivery (${retries + wishes} ms by the options in 'receive'): a duplicate could be handled twice`
  throw invalidOption('idempotency.retentionMs', text)
}

type GivenReceive = Omit<ReceiveSettings, 'giveUpAfterMs'> & {
  readonly giveUpAfterMs: number | undefined
}

function receiveSettings(given: ReceiveOptions = {}): GivenReceive {
  checkOptions('receive', given, [
    'concurrency',
    'handlerTimeoutMs',
    'immediateRetries',
    'maxDeliveries',
    'backoff',
    'giveUpAfterMs',
  ])
  return {
    asked: given.concurrency,
    concurrency: checkNumber('receive.concurrency', given.concurrency, {
      default: 10,
      min: 1,
      max: 10_000,
    }),
    handlerTimeoutMs: checkNumber('receive.handlerTimeoutMs', given.handlerTimeoutMs, {
      default: 30_000,
      min: 1,
      max: DAY,
    }),
    immediateRetries: checkNumber('receive.immediateRetries', given.immediateRetries, {
      default: 1,
      min: 0,
      max: 100,
    }),
    maxDeliveries: checkNumber('receive.maxDeliveries', given.maxDeliveries, {
      default: 5,
      min: 1,
      max: 10_000,
    }),
    giveUpAfterMs:
      given.giveUpAfterMs === undefined
        ? undefined
        : checkNumber('receive.giveUpAfterMs', given.giveUpAfterMs, {
            default: 0,
            min: 0,
            max: 3650 * DAY,
          }),
    backoff: checkBackoff('receive.backoff', given.backoff, {
      preset: { firstMs: 1000, longestMs: 300_000 },
      leastMs: 0,
    }),
  }
}

type Tools = Pick<Settings<unknown>, 'serializer' | 'logger' | 'clock' | 'random'>

function tools<Tx>({ serializer, logger, clock, random }: MersalOptions<Tx>): Tools {
  if (serializer !== undefined) {
    checkShape('serializer', serializer, ['encode', 'decode'])
    if (!isContentType(serializer.contentType))
      throw invalidOption('serializer.contentType', `expected ${contentTypeRule}`)
  }
  if (logger !== undefined && logger !== false)
    checkShape('logger', logger, ['debug', 'info', 'warn', 'error'])
  if (clock !== undefined) checkShape('clock', clock, ['now', 'monotonic', 'sleep'])
  if (random !== undefined && typeof random !== 'function')
    throw invalidOption('random', 'expected a function')
  return {
    serializer: serializer ?? jsonSerializer,
    logger: logger === false ? silentLogger : (logger ?? stderrLogger),
    clock: clock ?? systemClock,
    random: random ?? systemRandom,
  }
}

function developing(): boolean {
  return process.env['NODE_ENV'] !== 'production'
}
