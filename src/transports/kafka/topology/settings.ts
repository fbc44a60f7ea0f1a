import { invalid, type KafkaSettings } from '../options.ts'

/** Room for headers of ours on retries and dead letters, and for what Kafka adds to a batch. */
export const OWN_BYTES = 65_536

type Config = Readonly<Record<string, string>>

export type Kind = 'queue' | 'retry' | 'kept'

/**
 * How topics are made. Of a queue nothing is dropped by age or size: its reader deletes what has
 * been handled. `retry`: copies of its messages that wait. `kept`: dead letters and subscriptions,
 * of which a later record replaces an earlier one.
 */
export function configOf(
  kind: Kind,
  { maxMessageBytes, replicationFactor }: KafkaSettings,
): Config {
  // A copy has more headers than the message: one that fills its topic must fit all the same.
  const largest = maxMessageBytes + OWN_BYTES * (kind === 'queue' ? 1 : 2)
  return {
    'cleanup.policy': kind === 'kept' ? 'compact,delete' : 'delete',
    'retention.ms': '-1',
    'retention.bytes': '-1',
    'max.message.bytes': String(largest),
    'segment.bytes': String(Math.max(64 << 20, 2 * largest)),
    'unclean.leader.election.enable': 'false',
    ...(kind === 'kept' ? { 'min.cleanable.dirty.ratio': '0.1', 'segment.ms': '3600000' } : {}),
    ...(replicationFactor >= 3 ? { 'min.insync.replicas': '2' } : {}),
  }
}

/** What a setting does that loses confirmed messages for certain. Undefined if nothing does. */
export function loses(kind: Kind, found: ReadonlyMap<string, string>): string | undefined {
  const policy = found.get('cleanup.policy') ?? ''
  if (kind !== 'kept' && policy !== 'delete')
    return `cleanup.policy is '${policy}': set it to 'delete', or records with the same key vanish`
  if (kind === 'kept' && !policy.includes('compact'))
    return `cleanup.policy is '${policy}': set it to 'compact,delete'`
  for (const name of ['retention.ms', 'retention.bytes'])
    if ((found.get(name) ?? '-1') !== '-1')
      return `${name} is ${found.get(name)}: set it to -1, or what nobody has handled yet is dropped`
  return undefined
}

/** Settings under which a confirmed message can be lost when brokers fail. */
export function risks(found: ReadonlyMap<string, string>, copies: number): readonly string[] {
  const texts: string[] = []
  if (found.get('unclean.leader.election.enable') === 'true')
    texts.push(
      'unclean.leader.election.enable is true: set it to false, or a broker that is behind may become the leader and drop confirmed messages',
    )
  if (copies > 1 && Number(found.get('min.insync.replicas') ?? 1) < 2)
    texts.push(
      'min.insync.replicas is 1: set it to 2, or a message is confirmed when one broker alone has it',
    )
  return texts
}

/** Throws if the topic cannot be used as it is set. */
export function checkTopicSettings(
  topic: string,
  kind: Kind,
  found: ReadonlyMap<string, string>,
  { maxMessageBytes }: KafkaSettings,
): void {
  const loss = loses(kind, found)
  if (loss !== undefined) throw invalid('prefix', `topic '${topic}': ${loss}`)
  const largest = Number(found.get('max.message.bytes') ?? maxMessageBytes + OWN_BYTES)
  if (largest < maxMessageBytes + OWN_BYTES)
    throw invalid(
      'maxMessageBytes',
      `topic '${topic}' has max.message.bytes ${largest}; raise it to ${maxMessageBytes + OWN_BYTES}, or set this option to ${largest - OWN_BYTES}`,
    )
}
