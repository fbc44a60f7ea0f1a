import type { OutgoingMessage } from '../../core/messages/message.ts'

/** One line of JSON, then the body as it is. */
export function pack({ body, ...rest }: OutgoingMessage): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(rest)}\n`), body])
}

/** Undefined where somebody else has written what is no message. */
export function unpack(bytes: Buffer): OutgoingMessage | undefined {
  const end = bytes.indexOf(10)
  if (end < 0) return undefined
  let rest: unknown
  try {
    rest = JSON.parse(bytes.toString('utf8', 0, end))
  } catch {
    return undefined
  }
  return isHead(rest) ? { ...rest, body: bytes.subarray(end + 1) } : undefined
}

function isHead(value: unknown): value is Omit<OutgoingMessage, 'body'> {
  if (!isObject(value) || !isObject(value['headers']) || !isObject(value['to'])) return false
  const { id, type, headers, to, partitionKey = '' } = value
  const texts = [id, type, partitionKey, to['transport'], to['name'], ...Object.values(headers)]
  return (
    texts.every((text) => typeof text === 'string') &&
    (to['kind'] === 'queue' || to['kind'] === 'topic')
  )
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
