import {
  checkBackoff,
  checkChoice,
  checkNumber,
  checkOptions,
  checkShape,
  invalidOption,
} from '../../core/options.ts'
import { checkOnExpired, type OnExpired } from '../../core/messages/expiry.ts'
import type { MessageTracker } from '../../core/tracker.ts'
import type { Backoff } from '../../lib/async/backoff.ts'
import { longestRetriesMs } from '../receive/retry.ts'
import type { Logger } from '../../core/telemetry.ts'
import { type Limit, type LimitFacts, limitsOf } from '../receive/limits/options.ts'
import type { IdempotencyConfig, MersalOptions, ReceiveOptions } from '../types.ts'

/** How an app receives. */
export interface ReceivingSettings<Tx> {
  readonly receive: ReceiveSettings
  readonly tracker: MessageTracker<Tx> | undefined
  readonly onDuplicate: 'skip' | 'flag'
  readonly retentionMs: number
}

/** The options in `receive` with every default filled in. Times are in milliseconds. */
export interface ReceiveSettings {
  readonly concurrency: number
  /** The concurrency that the user asked for. */
  readonly asked: number | undefined
  readonly handlerTimeoutMs: number
  readonly immediateRetries: number
  readonly maxDeliveries: number
  readonly backoff: Backoff
  readonly giveUpAfterMs: number
  readonly orderPerKey: boolean
  readonly onExpired: OnExpired
  readonly limits: readonly Limit[]
}

const DAY = 86_400_000

export function receivingSettings<Tx>(
  options: MersalOptions<Tx>,
  logger: Logger,
): ReceivingSettings<Tx> {
  const given = receiveSettings(options.receive, { name: options.name, logger })
  const tracker = trackerOf(options)
  const { retentionMs, onDuplicate } = inboxSettings(options.idempotency)
  const remembersMs = tracker === undefined ? Number.POSITIVE_INFINITY : retentionMs
  const receive = { ...given, giveUpAfterMs: giveUpAfterMs(given, remembersMs) }
  return { receive, tracker, onDuplicate, retentionMs }
}

function trackerOf<Tx>(options: MersalOptions<Tx>): MessageTracker<Tx> | undefined {
  const { idempotency, store, unitOfWork } = options
  if (idempotency !== undefined)
    checkOptions('idempotency', idempotency, ['tracker', 'onDuplicate', 'retentionMs'])
  const given = idempotency?.tracker
  const tracker = given === undefined ? store?.tracker : given
  if (tracker === undefined) {
    if (idempotency !== undefined)
      throw invalidOption('idempotency', 'needs idempotency.tracker, or a store')
    return undefined
  }
  checkShape('idempotency.tracker', tracker, ['track', 'prune'])
  if (store === undefined && unitOfWork === undefined) {
    const text =
      'needs unitOfWork (or a store): its record belongs to the transaction of the handler'
    throw invalidOption('idempotency.tracker', text)
  }
  return tracker
}

function inboxSettings<Tx>(
  given: IdempotencyConfig<Tx> | undefined,
): Pick<ReceivingSettings<Tx>, 'onDuplicate' | 'retentionMs'> {
  const retention = { default: 7 * DAY, min: 1, max: 3650 * DAY }
  const choices = ['skip', 'flag'] as const
  return {
    retentionMs: checkNumber('idempotency.retentionMs', given?.retentionMs, retention),
    onDuplicate: checkChoice('idempotency.onDuplicate', given?.onDuplicate, choices, 'skip'),
  }
}

/** The inbox must remember a message longer than it may be delivered again. */
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

const numbers = {
  concurrency: { default: 10, min: 1, max: 10_000 },
  handlerTimeoutMs: { default: 30_000, min: 1, max: DAY },
  immediateRetries: { default: 1, min: 0, max: 100 },
  maxDeliveries: { default: 5, min: 1, max: 10_000 },
  giveUpAfterMs: { default: 0, min: 0, max: 3650 * DAY },
} as const

function receiveSettings(
  given: ReceiveOptions = {},
  facts: Omit<LimitFacts, 'concurrency'>,
): GivenReceive {
  const others = ['backoff', 'orderPerKey', 'onExpired', 'limit']
  checkOptions('receive', given, [...Object.keys(numbers), ...others])
  const number = (name: keyof typeof numbers): number =>
    checkNumber(`receive.${name}`, given[name], numbers[name])
  const preset = { firstMs: 1000, longestMs: 300_000 }
  const concurrency = number('concurrency')
  return {
    asked: given.concurrency,
    concurrency,
    handlerTimeoutMs: number('handlerTimeoutMs'),
    immediateRetries: number('immediateRetries'),
    maxDeliveries: number('maxDeliveries'),
    giveUpAfterMs: given.giveUpAfterMs === undefined ? undefined : number('giveUpAfterMs'),
    backoff: checkBackoff('receive.backoff', given.backoff, { preset, leastMs: 0 }),
    orderPerKey: checkOrderPerKey(given.orderPerKey),
    onExpired: checkOnExpired('receive.onExpired', given.onExpired),
    limits: limitsOf('receive.limit', given.limit, { ...facts, concurrency }),
  }
}

function checkOrderPerKey(given: boolean | undefined): boolean {
  if (given !== undefined && typeof given !== 'boolean')
    throw invalidOption('receive.orderPerKey', 'expected true or false')
  return given ?? false
}
