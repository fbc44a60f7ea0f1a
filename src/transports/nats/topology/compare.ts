import type { ConsumerConfig, StreamConfig } from '@nats-io/jetstream'
import { AckPolicy, DeliverPolicy } from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'
import type { MersalError } from '../../../core/errors/errors.ts'
import { invalid, type NatsSettings } from '../options.ts'
import { CONSUMER } from './names.ts'

type Facts = Readonly<Record<string, unknown>>

/** Of these the first one that differs, as `[name, what it is, what it must be]`. */
function difference(found: Facts, wanted: Facts): readonly [string, string, string] | undefined {
  const name = Object.keys(wanted).find((each) => found[each] !== wanted[each])
  return name === undefined ? undefined : [name, String(found[name]), String(wanted[name])]
}

/** No limit has several names. */
const limit = (given: number | undefined): number => (given === undefined || given < 1 ? -1 : given)

function streamFacts(config: Partial<StreamConfig>): Facts {
  return {
    subjects: config.subjects?.join(' '),
    retention: config.retention,
    storage: config.storage,
    discard: config.discard,
    max_age: config.max_age ?? 0,
    max_msgs: limit(config.max_msgs),
    max_msgs_per_subject: limit(config.max_msgs_per_subject),
    max_bytes: limit(config.max_bytes),
    num_replicas: config.num_replicas ?? 1,
    no_ack: config.no_ack ?? false,
    sealed: config.sealed ?? false,
    deny_delete: config.deny_delete ?? false,
    deny_purge: config.deny_purge ?? false,
  }
}

const optionOf: Readonly<Record<string, keyof NatsSettings>> = {
  num_replicas: 'replicas',
  max_bytes: 'maxQueueBytes',
}

/** Throws if messages would get lost, or go elsewhere, because of how the stream is set. */
export function compareStream(
  wanted: Partial<StreamConfig> & Pick<StreamConfig, 'name'>,
  found: Partial<StreamConfig>,
): void {
  const differs = difference(streamFacts(found), streamFacts(wanted))
  if (differs === undefined) return
  const [field, is, needed] = differs
  throw invalid(
    optionOf[field] ?? 'prefix',
    `the stream '${wanted.name}' has ${field} ${is}, and ${needed} is needed: change it with 'nats stream edit', change the option, or use another prefix`,
  )
}

/** How the one consumer of a queue is made. */
export function consumerConfig({
  ackWaitMs,
}: Pick<NatsSettings, 'ackWaitMs'>): Partial<ConsumerConfig> {
  return {
    durable_name: CONSUMER,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: nanos(ackWaitMs),
    // What waits for a retry counts, too, and must not hold up the rest.
    max_ack_pending: -1,
    max_waiting: 4096,
  }
}

const consumerWanted: Facts = {
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.All,
  deliver_subject: '',
  filter_subject: '',
  filter_subjects: '',
  // With a bound, a message that reached it would stay in the stream for ever.
  max_deliver: -1,
  max_ack_pending: -1,
  max_batch: -1,
  max_expires: -1,
  max_bytes: -1,
  inactive_threshold: -1,
  backoff: '',
  headers_only: false,
  mem_storage: false,
}

function consumerFacts(config: Partial<ConsumerConfig>, subject: string): Facts {
  const filters = [config.filter_subject ?? '', ...(config.filter_subjects ?? [])]
  return {
    ack_policy: config.ack_policy,
    deliver_policy: config.deliver_policy,
    deliver_subject: config.deliver_subject ?? '',
    // All that the stream takes has this subject.
    filter_subject: filters[0] === subject ? '' : filters[0],
    filter_subjects: filters.slice(1).join(' '),
    max_deliver: limit(config.max_deliver),
    max_ack_pending: limit(config.max_ack_pending),
    max_batch: limit(config.max_batch),
    max_expires: limit(config.max_expires),
    max_bytes: limit(config.max_bytes),
    inactive_threshold: limit(config.inactive_threshold),
    backoff: config.backoff?.join(' ') ?? '',
    headers_only: config.headers_only ?? false,
    mem_storage: config.mem_storage ?? false,
  }
}

/** What keeps this consumer from handing out every message until it is handled. */
export function consumerMistake(
  stream: string,
  subject: string,
  found: Partial<ConsumerConfig>,
): MersalError | undefined {
  const differs = difference(consumerFacts(found, subject), consumerWanted)
  if (differs === undefined) return undefined
  const [field, is, needed] = differs
  return invalid(
    'topology',
    `the consumer '${CONSUMER}' of '${stream}' has ${field} ${is || "''"}, and ${needed || "''"} is needed: delete it, which loses no message, and make it again`,
  )
}
