import { type DeadLetter, type DeadLetterBox, isDeadReason } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { headerNames } from '../../core/messages/message.ts'
import { checkNumber } from '../../core/options.ts'
import { decodeHeaders } from '../../sql/headers.ts'
import { ask, command, type RedisLink, run } from './connection.ts'
import { scripts } from './scripts.ts'

type Reply = readonly [
  queue: unknown,
  place: unknown,
  withheld: unknown,
  fields: readonly unknown[],
]

const KEY = /^(\d+-\d+)@(.+)$/

const whole = (value: unknown, preset: number): number => {
  const number = Number(value)
  return Number.isSafeInteger(number) && number > 0 ? number : preset
}

function toLetter([queue, place, withheld, fields]: Reply): DeadLetter {
  const values = new Map<string, Buffer>()
  // Ours come first: what a foreign sender calls alike does not hide them.
  for (let at = 0; at < fields.length; at += 2)
    if (!values.has(String(fields[at]))) values.set(String(fields[at]), fields[at + 1] as Buffer)
  const text = (name: string): string => values.get(name)?.toString() ?? ''
  const headers = decodeHeaders(text('headers')) ?? {}
  const partitionKey = headers[headerNames.partitionKey]
  const reason = text('reason')
  return {
    key: `${String(place)}@${String(queue)}`,
    direction: 'incoming',
    id: text('id'),
    type: text('type'),
    headers,
    body: values.get('body') ?? new Uint8Array(),
    place: String(queue),
    ...(partitionKey === undefined ? {} : { partitionKey }),
    reason: isDeadReason(reason) ? reason : 'rejected',
    error: text('error'),
    attempts: whole(text('attempts'), 1),
    history: [],
    diedAt: whole(text('died-at'), whole(String(place).split('-')[0], 0)),
    maybePublished: false,
    blocksKey: false,
    ...(String(withheld) === '' ? {} : { withheldBytes: Number(withheld) }),
  }
}

/** Dead letters of one queue, or of all: a stream for each queue. */
export function redisDeadLetters(link: RedisLink, prefix: string, queue?: string): DeadLetterBox {
  const queues = async (): Promise<readonly string[]> =>
    queue === undefined ? declaredQueues(link, prefix) : [queue]

  /** The places of these keys by their queue; others belong to somebody else. */
  function placesOf(keys: readonly string[]): ReadonlyMap<string, readonly string[]> {
    const places = new Map<string, string[]>()
    for (const key of new Set(keys)) {
      const [, place, owner] = KEY.exec(key) ?? []
      if (place === undefined || owner === undefined) continue
      if (queue === undefined || queue === owner)
        places.set(owner, [...(places.get(owner) ?? []), place])
    }
    return places
  }

  return {
    async list(query = {}) {
      const most = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
      const [, after, owner = ''] = KEY.exec(query.after ?? '') ?? []
      if (query.after !== undefined && after === undefined) return []
      // At the same place the queues stand in the order of their names.
      const from = (name: string): string =>
        after === undefined ? '-' : name > owner ? after : `(${after}`
      const all = (await queues()).flatMap((name) => [name, from(name)])
      const args = [most, CLAIM_BYTES, LARGEST_ROW_BYTES, ...all]
      const replies = await ask(link, (server) => run(server, scripts.buried, prefix, args))
      return (replies as readonly Reply[]).map(toLetter)
    },
    async retry(keys) {
      let count = 0
      for (const [name, places] of placesOf(keys)) {
        const args = [name, ...places]
        const moved = Number(await ask(link, (one) => run(one, scripts.revive, prefix, args)))
        if (moved < 0)
          throw new MersalError(
            'MERSAL_UNROUTABLE',
            `nobody has declared the queue '${name}': start its app once; its dead letters stay`,
          )
        count += moved
      }
      return count
    },
    async discard(keys) {
      let count = 0
      for (const [name, places] of placesOf(keys)) {
        const args = ['XDEL', `${prefix}dead:${name}`, ...places]
        count += Number(await ask(link, ({ client }) => command(client, args)))
      }
      return count
    },
  }
}

export async function declaredQueues(link: RedisLink, prefix: string): Promise<readonly string[]> {
  const names = await ask(link, ({ client }) => command(client, ['SMEMBERS', `${prefix}queues`]))
  // RESP 3 knows sets, which the client shows as arrays.
  return [...(names as Iterable<unknown>)].map(String).toSorted()
}
