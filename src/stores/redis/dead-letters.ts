import { type DeadLetter, type DeadLetterBox, isDeadReason } from '../../core/dead-letter.ts'
import { attemptsOf } from '../../core/errors/attempts.ts'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { destinationKey } from '../../core/messages/message.ts'
import { checkNumber } from '../../core/options.ts'
import type { Argument } from '../../lib/redis-script.ts'
import { unpack } from './pack.ts'
import type { documentScripts } from './scripts.ts'

export interface Commands {
  readonly run: (name: keyof typeof documentScripts, args: readonly Argument[]) => Promise<unknown>
  readonly send: (args: readonly Argument[]) => Promise<unknown>
}

const PLACE = /^\d+-\d+$/
const placesOf = (keys: readonly string[]): string[] => [
  ...new Set(keys.filter((key) => PLACE.test(key))),
]

type Reply = readonly [place: Buffer, withheld: unknown, fields: readonly Buffer[]]

export function documentDeadLetters({ run, send }: Commands, prefix: string): DeadLetterBox {
  return {
    async list(query = {}) {
      const most = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
      const { after } = query
      if (after !== undefined && !PLACE.test(after)) return []
      const from = after === undefined ? '-' : `(${after}`
      const found = await run('buried', ['', most, CLAIM_BYTES, LARGEST_ROW_BYTES, from])
      return (found as readonly Reply[]).map(toLetter)
    },
    retry: async (keys) => Number(await run('revive', ['', ...placesOf(keys)])),
    async discard(keys) {
      const places = placesOf(keys)
      return places.length === 0 ? 0 : Number(await send(['XDEL', `${prefix}dead`, ...places]))
    },
  }
}

function toLetter([place, withheld, fields]: Reply): DeadLetter {
  const values = new Map<string, Buffer>()
  for (let at = 0; at < fields.length; at += 2)
    values.set(String(fields[at]), fields[at + 1] as Buffer)
  const text = (name: string): string => values.get(name)?.toString() ?? ''
  const whole = String(withheld) === ''
  const packed = values.get('message') ?? Buffer.alloc(0)
  const message = unpack(packed)
  const reason = text('reason')
  return {
    key: String(place),
    direction: 'outgoing',
    id: message?.id ?? '',
    type: message?.type ?? '',
    headers: whole ? (message?.headers ?? {}) : {},
    body: whole ? (message?.body ?? packed) : new Uint8Array(),
    place: message === undefined ? text('document') : destinationKey(message.to),
    ...(message?.partitionKey === undefined ? {} : { partitionKey: message.partitionKey }),
    reason: isDeadReason(reason) ? reason : 'refused',
    error: text('error'),
    attempts: Number(text('attempts')) || 1,
    history: attemptsOf(text('history')),
    diedAt: Number(text('died-at')) || Number(String(place).split('-')[0]),
    maybePublished: text('maybe-published') === '1',
    blocksKey: false,
    ...(whole ? {} : { withheldBytes: Number(withheld) }),
  }
}
