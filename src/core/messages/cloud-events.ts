import { byteLength } from '../../lib/text.ts'

/**
 * CloudEvents 1.0 in binary mode: in an envelope, each attribute is a header that begins with `ce-`.
 * Transports write and read them as the binding of their protocol says.
 */
export const ATTRIBUTE = 'ce-'

type Headers = Readonly<Record<string, string>>

/** Whether these are the headers of a CloudEvent. */
export function isCloudEvent(headers: Headers): boolean {
  return Object.hasOwn(headers, `${ATTRIBUTE}specversion`)
}

/** The name of a header in AMQP. Its binding prefers this form, since JMS cannot read the other. */
export function amqpAttribute(name: string): string {
  return name.startsWith(ATTRIBUTE) ? `cloudEvents_${name.slice(ATTRIBUTE.length)}` : name
}

/** The name in an envelope of a header that came over AMQP. */
export function fromAmqp(name: string): string {
  const attribute = /^cloudEvents[:_](.+)$/i.exec(name)?.[1]
  return (attribute === undefined ? name : `${ATTRIBUTE}${attribute}`).toLowerCase()
}

/** In Kafka an attribute is a header that begins so. */
const KAFKA_ATTRIBUTE = 'ce_'

/** Whether these names of headers in Kafka are those of a CloudEvent. */
export function isKafkaCloudEvent(names: readonly string[]): boolean {
  return names.includes(`${KAFKA_ATTRIBUTE}specversion`)
}

/** The name of a header in Kafka; undefined if it would be taken for an attribute and is none. */
export function kafkaAttribute(name: string): string | undefined {
  if (name.startsWith(KAFKA_ATTRIBUTE)) return undefined
  return name.startsWith(ATTRIBUTE) ? KAFKA_ATTRIBUTE + name.slice(ATTRIBUTE.length) : name
}

/** The name in an envelope of a header of a CloudEvent that came over Kafka. */
export function fromKafka(name: string): string {
  return name.startsWith(KAFKA_ATTRIBUTE) ? ATTRIBUTE + name.slice(KAFKA_ATTRIBUTE.length) : name
}

/** A value in HTTP and NATS: everything but printable ASCII is percent-encoded, and `"` and `%`. */
export function percentEncoded(value: string): string {
  return value.replaceAll(/[^!-~]|["%]/gu, (character) =>
    byteLength(character) === 1
      ? `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
      : encodeURIComponent(character),
  )
}

/** The value as it was; one that is not well encoded is left as it is. */
export function percentDecoded(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
