import { createHash } from 'node:crypto'
import { ATTRIBUTE, isCloudEvent } from '../core/messages/cloud-events.ts'
import { MersalError } from '../core/errors/errors.ts'
import { type Envelope, type OutgoingMessage, headerNames } from '../core/messages/message.ts'
import { isHeaderValue, isName, nameRule } from '../core/messages/validation.ts'
import { checkOptions, invalidOption } from '../core/options.ts'
import type { WireFormat } from '../core/messages/wire-format.ts'
import { printable } from '../lib/text.ts'

/** Options of `cloudEvents()`. */
export interface CloudEventsOptions {
  /**
   * Attribute `source` of what this app sends: a URI reference that names it to others, such as
   * `/shops/1` or `https://shop.example`.
   */
  readonly source: string
}

/** Attributes that stand for headers of ours, both ways. The first three are extensions. */
const mapped: readonly (readonly [attribute: string, header: string])[] = [
  ['correlationid', headerNames.correlationId],
  ['causationid', headerNames.causationId],
  ['partitionkey', headerNames.partitionKey],
  ['time', headerNames.sentAt],
  ['traceparent', headerNames.traceparent],
  ['tracestate', headerNames.tracestate],
]

/**
 * Messages as CloudEvents 1.0 in binary mode: the attributes are headers, the body stays what it
 * is. Attributes are written beside the headers of Mersal, so apps without this format read the
 * messages as well. A foreign CloudEvent needs no header of ours. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function cloudEvents(options: CloudEventsOptions): WireFormat {
  checkOptions('cloudEvents', options, ['source'])
  const { source } = options
  if (!isHeaderValue(source) || !/^\S+$/.test(source))
    throw invalidOption('cloudEvents.source', 'expected a URI reference, such as /shops/1')
  return { headers: (message) => attributesOf(source, message), read }
}

function attributesOf(
  source: string,
  { id, type, headers }: OutgoingMessage,
): Record<string, string> {
  const attributes: Record<string, string> = {
    [`${ATTRIBUTE}specversion`]: '1.0',
    [`${ATTRIBUTE}id`]: id,
    [`${ATTRIBUTE}source`]: source,
    [`${ATTRIBUTE}type`]: type,
  }
  for (const [attribute, header] of mapped) {
    const value = headers[header]
    if (value !== undefined && value !== '') attributes[`${ATTRIBUTE}${attribute}`] = value
  }
  return attributes
}

function read(message: Envelope): Envelope | undefined {
  const { headers } = message
  if (!isCloudEvent(headers)) return undefined
  const version = required(headers, 'specversion')
  if (!/^1\.\d+$/.test(version))
    throw malformed(
      `is a CloudEvent of the version '${printable(version, 20)}'; this app reads 1.0`,
    )
  const [id, source, type] = [
    required(headers, 'id'),
    required(headers, 'source'),
    required(headers, 'type'),
  ]
  if (!isName(type)) throw malformed(`is a CloudEvent whose type is no name: ${nameRule}`)
  const given = { ...headers }
  for (const [attribute, header] of [
    ...mapped,
    ['datacontenttype', headerNames.contentType] as const,
  ]) {
    const value = headers[`${ATTRIBUTE}${attribute}`]
    if (value !== undefined && given[header] === undefined) given[header] = value
  }
  return {
    ...message,
    type,
    id: isUuid(id) ? id.toLowerCase() : derivedId(source, id),
    headers: given,
  }
}

function required(headers: Envelope['headers'], attribute: string): string {
  const value = headers[`${ATTRIBUTE}${attribute}`]
  if (value !== undefined && value !== '') return value
  throw malformed(`is a CloudEvent without the attribute '${attribute}'`)
}

const isUuid = (id: string): boolean => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)

/** CloudEvents are the same if source and id are. So is this: a UUID of version 8. */
function derivedId(source: string, id: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([source, id]))
    .digest()
  hash[6] = 0x80 | (hash[6]! & 0x0f)
  hash[8] = 0x80 | (hash[8]! & 0x3f)
  const hex = hash.toString('hex')
  return [8, 12, 16, 20, 32].map((end, at, ends) => hex.slice(ends[at - 1] ?? 0, end)).join('-')
}

function malformed(text: string): MersalError {
  return new MersalError('MERSAL_INVALID_MESSAGE', `the message ${text}`)
}
