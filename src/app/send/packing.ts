import type { BodyCodec } from '../../core/messages/codec.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { type MessageType, type OutgoingMessage, headerNames } from '../../core/messages/message.ts'
import type { OutgoingContext } from '../../core/pipeline.ts'
import type { WireFormat } from '../../core/messages/wire-format.ts'
import type { Logger } from '../../core/telemetry.ts'
import { isHeaderName, isHeaderValue } from '../../core/messages/validation.ts'
import { invalidOption } from '../../core/options.ts'
import { isLateAnswer, kindOfAnswer } from '../../lib/async/late-answer.ts'
import { byteLength, printable } from '../../lib/text.ts'
import { encodeWith } from '../contracts/codecs.ts'
import { isPromise } from './body.ts'
import { stamp, travelling } from './headers.ts'

export interface PackingPorts {
  /** Undefined for an app that belongs to no tenant. */
  readonly tenant: string | undefined
  readonly codecs: readonly BodyCodec[]
  readonly logger: Logger
  readonly wireFormat: WireFormat | undefined
  /** Whether steps of the user have seen the headers. */
  readonly stepped: boolean
  /** `maxMessageBytes` of the transport with this name. */
  readonly limitOf: (transport: string) => number
}

/**
 * The message as it travels, around these bytes of its body. Returns a promise only if a codec
 * waits.
 */
export function pack(
  ports: PackingPorts,
  context: OutgoingContext,
  body: Uint8Array,
): OutgoingMessage | Promise<OutgoingMessage> {
  // Only a step of the user can have put in what was not checked before.
  const headers = ports.stepped ? travelling(context.headers) : withPrototype(context.headers)
  if (ports.stepped && ports.tenant !== undefined) stamp(headers, ports.tenant)
  const { codecs, logger } = ports
  if (codecs.length === 0) return seal(ports, context, headers, body)
  const encoded = encodeWith(codecs, body, { id: context.id, type: context.type.name, logger })
  const sealed = (given: Awaited<typeof encoded>): OutgoingMessage => {
    if (given.encoding.length > 0) headers[headerNames.encoding] = given.encoding.join(', ')
    return seal(ports, context, headers, given.body)
  }
  return isPromise(encoded) ? encoded.then(sealed) : sealed(encoded)
}

function seal(
  ports: PackingPorts,
  { id, type, to, partitionKey, delayMs }: OutgoingContext,
  headers: Record<string, string>,
  body: Uint8Array,
): OutgoingMessage {
  const message = {
    id,
    type: type.name,
    headers,
    body,
    to,
    ...(partitionKey === undefined ? {} : { partitionKey }),
    ...(delayMs === undefined ? {} : { delayMs }),
  }
  if (ports.wireFormat !== undefined)
    Object.assign(headers, checkedAttributes(ports.wireFormat.headers(message)))
  checkSize(ports.limitOf(to.transport), type, headers, body)
  return message
}

/** What a format of the user adds was not checked before. */
function checkedAttributes(given: unknown): object {
  const field = 'wireFormat.headers()'
  if (isLateAnswer(given)) throw invalidOption(field, `returned ${kindOfAnswer(given)}`)
  const attributes = Object(given) as Readonly<Record<string, unknown>>
  for (const [name, value] of Object.entries(attributes))
    if (!isHeaderName(name) || !isHeaderValue(value))
      throw invalidOption(
        `${field}['${printable(name, 60)}']`,
        'expected a name and a text that can travel',
      )
  return attributes
}

function withPrototype(headers: Record<string, string>): Record<string, string> {
  return Object.getPrototypeOf(headers) === null ? { ...headers } : headers
}

function checkSize(
  limit: number,
  type: MessageType,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): void {
  if (mostBytes(headers, body) <= limit) return
  let size = body.byteLength
  for (const [name, value] of Object.entries(headers)) size += byteLength(name) + byteLength(value)
  if (size <= limit) return
  throw new MersalError(
    'MERSAL_TOO_LARGE',
    `'${type.name}' has ${size} bytes (body and headers), the transport takes at most ${limit}: put the content elsewhere and send where it is`,
    { details: { type: type.name, size, limit } },
  )
}

/** At least the size, without a look at every character. */
function mostBytes(headers: Readonly<Record<string, string>>, body: Uint8Array): number {
  let most = body.byteLength
  for (const name in headers) most += 3 * (name.length + (headers[name] as string).length)
  return most
}
