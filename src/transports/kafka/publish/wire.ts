import {
  fromKafka,
  isCloudEvent,
  isKafkaCloudEvent,
  kafkaAttribute,
} from '../../../core/messages/cloud-events.ts'
import type { Envelope } from '../../../core/messages/message.ts'
import type { StoredRecord } from '../connection/records.ts'

export type WireHeaders = Map<Buffer, Buffer>

/** Headers of our own on a message in Kafka. */
export const ownHeaders = {
  id: 'mersal-id',
  type: 'mersal-type',
  /** On a copy that waits for a retry. */
  attempts: 'mersal-attempts',
  due: 'mersal-due',
  since: 'mersal-since',
  history: 'mersal-history',
  aside: 'mersal-aside',
  /** On a dead letter, whose key is that of its place. */
  key: 'mersal-key',
  reason: 'mersal-reason',
  error: 'mersal-error',
  diedAt: 'mersal-died-at',
} as const

type OwnName = keyof typeof ownHeaders

/** Names that mean something to us. A header of a message that begins so is written behind this. */
const OURS = 'mersal-'
const QUOTED = 'mersal-header-'

/** Bytes of a record beside key, value and headers, at most. */
const RECORD_BYTES = 64

export function toHeaders({
  id,
  type,
  headers,
}: Pick<Envelope, 'id' | 'type' | 'headers'>): WireHeaders {
  const wire: WireHeaders = new Map()
  withOwn(wire, { id, type })
  const nameOf = isCloudEvent(headers) ? kafkaAttribute : (name: string): string => name
  for (const [name, value] of Object.entries(headers)) {
    const plain = name.startsWith(OURS) ? undefined : nameOf(name)
    wire.set(Buffer.from(plain ?? QUOTED + name), Buffer.from(value))
  }
  return wire
}

/** Adds headers of our own. */
export function withOwn(
  wire: WireHeaders,
  own: Partial<Record<OwnName, string | number>>,
): WireHeaders {
  for (const [name, value] of Object.entries(own))
    wire.set(Buffer.from(ownHeaders[name as OwnName]), Buffer.from(String(value)))
  return wire
}

export function wireBytes(
  key: Buffer | undefined,
  headers: WireHeaders,
  body: Uint8Array | null,
): number {
  let bytes = RECORD_BYTES + (key?.byteLength ?? 0) + (body?.byteLength ?? 0)
  for (const [name, value] of headers) bytes += name.byteLength + value.byteLength + 6
  return bytes
}

/** A message as it has arrived. Of several headers with one name the last one counts. */
export interface Arrived {
  readonly envelope: Envelope
  /** The partition key, as bytes. */
  readonly key: Buffer | undefined
  readonly own: Partial<Record<OwnName, string>>
}

const ownNames = new Map(
  Object.entries(ownHeaders).map(([name, header]) => [header, name as OwnName]),
)

/** What came without an id or a type has empty texts there. */
export function arrivedOf({ key, value, headers: wire }: StoredRecord): Arrived {
  const headers: [string, string][] = []
  const own: Partial<Record<OwnName, string>> = {}
  const pairs = wire.map(([name, value]) => [String(name ?? ''), String(value ?? '')] as const)
  const isEvent = isKafkaCloudEvent(pairs.map(([name]) => name))
  const nameOf = isEvent ? fromKafka : (name: string): string => name
  for (const [name, text] of pairs) {
    const ours = ownNames.get(name as never)
    if (ours !== undefined) own[ours] = text
    else if (name.startsWith(QUOTED)) headers.push([name.slice(QUOTED.length), text])
    else if (!name.startsWith(OURS)) headers.push([nameOf(name), text])
  }
  return {
    // A copy: else one small message would keep all that was read with it.
    envelope: {
      id: own.id ?? '',
      type: own.type ?? '',
      headers: Object.fromEntries(headers),
      body: new Uint8Array(value ?? []),
    },
    key: key === null ? undefined : Buffer.from(key),
    own,
  }
}

/** A number that a header holds. */
export function numberOf(text: string | undefined): number | undefined {
  const value = Number(text)
  return text !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
