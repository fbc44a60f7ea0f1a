import { createHash } from 'node:crypto'
import { type DeadLetter, type DeadLetterBox, isDeadReason } from '../../core/dead-letter.ts'
import type { DocumentKey, DocumentStorage } from '../../core/records/documents.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { CLAIM_BYTES } from '../../core/messages/bytes.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import { checkNumber, checkOptions, checkShape, invalidOption } from '../../core/options.ts'
import { documentScripts } from './scripts.ts'

/** A client of `@redis/client` that is connected, as far as it is needed. */
export interface RedisCommands {
  sendCommand(
    args: (string | Buffer)[],
    options?: { readonly typeMapping: { readonly 36: typeof Buffer } },
  ): Promise<unknown>
}

export interface RedisDocumentsOptions {
  readonly client: RedisCommands
  /** Begins every key: `{mersal}:`. Default 'mersal'. */
  readonly prefix?: string
  /**
   * How long a document knows which messages have changed it, in milliseconds. Default 7 days. Not
   * shorter than the longest redelivery.
   */
  readonly handledForMs?: number
}

/** Messages of one document that a relay gets at once. */
const MOST_MESSAGES = 100
const asBytes = { typeMapping: { 36: Buffer } } as const

type Argument = string | number | Uint8Array

function encoded(argument: Argument): string | Buffer {
  if (argument instanceof Uint8Array)
    return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
  return String(argument)
}

/** One line of JSON, then the body as it is. */
function pack({ body, ...rest }: OutgoingMessage): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(rest)}\n`), body])
}

function unpack(bytes: Buffer): OutgoingMessage {
  const end = bytes.indexOf(10)
  const rest = JSON.parse(bytes.toString('utf8', 0, end)) as Omit<OutgoingMessage, 'body'>
  return { ...rest, body: bytes.subarray(end + 1) }
}

const nameOf = ({ collection, id }: DocumentKey): string => `${collection}/${id}`

/** Collections have no `/`, so that ids may have. */
function keyOf(name: string): DocumentKey {
  const at = name.indexOf('/')
  return { collection: name.slice(0, at), id: name.slice(at + 1) }
}

/** Nothing was written if the server has answered, or if the client did not send. */
function isCertain(error: unknown): boolean {
  const text = error instanceof Error ? error.message : ''
  return /^[A-Z]{2,} /.test(text) || /^The client is (?:closed|offline)/.test(text)
}

/**
 * Documents in Redis 7.0 or later. Reads and writes with your client, which stays yours. What a
 * lost machine loses is up to the settings of the server: docs/redis.md.
 */
export function redisDocuments(options: RedisDocumentsOptions): DocumentStorage {
  checkOptions('redisDocuments', options, ['client', 'prefix', 'handledForMs'])
  checkShape('redisDocuments.client', options.client, ['sendCommand'])
  const { client, prefix: given = 'mersal' } = options
  if (typeof given !== 'string' || !/^[A-Za-z0-9_.:-]{1,64}$/.test(given))
    throw invalidOption('redisDocuments.prefix', "expected letters, digits, '_', '.', ':' or '-'")
  const week = { default: 604_800_000, min: 1000, max: 31_536_000_000 }
  const handledForMs = checkNumber('redisDocuments.handledForMs', options.handledForMs, week)
  const prefix = `{${given}}:`
  const run = runner(client, prefix)
  const inboxName = (handling?: { readonly consumer: string; readonly messageId: string }) =>
    handling === undefined ? '' : `${handling.consumer}/${handling.messageId}`

  return {
    async load(key, handling) {
      const args = [nameOf(key), inboxName(handling)]
      const loading = run('load', args).catch((cause: unknown) => {
        const text = `redis: the document ${nameOf(key)} could not be read`
        throw new MersalError('MERSAL_STORE_FAILED', text, { cause })
      })
      const [state, version, handled] = (await loading) as [Buffer | null, number, number]
      return { state: state ?? undefined, version, handled: handled === 1 }
    },
    async save({ key, version, state, messages, handling }) {
      const there = state === undefined ? ['0', ''] : ['1', state]
      const about = [nameOf(key), version, ...there, inboxName(handling), handledForMs]
      try {
        const answer = String(await run('save', [...about, ...messages.map(pack)]))
        return answer === 'saved' || answer === 'conflict' ? answer : 'handled'
      } catch (cause) {
        const code = isCertain(cause) ? 'MERSAL_STORE_FAILED' : 'MERSAL_COMMIT_UNKNOWN'
        const what = isCertain(cause) ? 'was not saved' : 'may or may not have been saved'
        throw new MersalError(code, `redis: the document ${nameOf(key)} ${what}`, { cause })
      }
    },
    async findWithMessages({ limit, holdMs, token }) {
      const args = ['', limit, holdMs, token, MOST_MESSAGES, CLAIM_BYTES]
      const found = (await run('find', args)) as readonly [Buffer, number, readonly Buffer[]][]
      return found.map(([name, attempts, messages]) => ({
        key: keyOf(String(name)),
        attempts,
        messages: messages.map(unpack),
      }))
    },
    async removeMessages({ key, token, confirmed, attempts, retryMs, dead }) {
      const { reason = '', error = '' } = dead ?? {}
      const args = [nameOf(key), token, confirmed, attempts, Math.ceil(retryMs), reason, error]
      return (await run('remove', args)) === 1
    },
    deadLetters: deadLettersOf(client, prefix, run),
  }
}

type Run = (name: keyof typeof documentScripts, args: readonly Argument[]) => Promise<unknown>

function runner(client: RedisCommands, prefix: string): Run {
  const digests = new Map<string, string>()
  return async (name, args) => {
    const text = documentScripts[name]
    const digest = digests.get(name) ?? createHash('sha1').update(text).digest('hex')
    digests.set(name, digest)
    const rest = ['1', prefix, ...args].map(encoded)
    try {
      return await client.sendCommand(['EVALSHA', digest, ...rest], asBytes)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return client.sendCommand(['EVAL', text, ...rest], asBytes)
    }
  }
}

const PLACE = /^\d+-\d+$/

function deadLettersOf(client: RedisCommands, prefix: string, run: Run): DeadLetterBox {
  const stream = `${prefix}dead`
  return {
    async list(query = {}) {
      const most = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
      const { after } = query
      if (after !== undefined && !PLACE.test(after)) return []
      const from = after === undefined ? '-' : `(${after}`
      const args = ['XRANGE', stream, from, '+', 'COUNT', String(most)]
      const entries = (await client.sendCommand(args, asBytes)) as [Buffer, Buffer[]][]
      return entries.map(([place, fields]) => toLetter(String(place), fields))
    },
    retry: async (keys) =>
      Number(await run('revive', ['', ...new Set(keys.filter((key) => PLACE.test(key)))])),
    async discard(keys) {
      const places = [...new Set(keys.filter((key) => PLACE.test(key)))]
      if (places.length === 0) return 0
      return Number(await client.sendCommand(['XDEL', stream, ...places], asBytes))
    },
  }
}

function toLetter(key: string, fields: readonly Buffer[]): DeadLetter {
  const values = new Map<string, Buffer>()
  for (let at = 0; at < fields.length; at += 2)
    values.set(String(fields[at]), fields[at + 1] as Buffer)
  const text = (name: string): string => values.get(name)?.toString() ?? ''
  const { to, ...message } = unpack(values.get('message') ?? Buffer.from('{}\n'))
  const reason = text('reason')
  return {
    ...message,
    key,
    direction: 'outgoing',
    place: destinationKey(to),
    reason: isDeadReason(reason) ? reason : 'refused',
    error: text('error'),
    attempts: Number(text('attempts')),
    diedAt: Number(text('died-at')),
    maybePublished: false,
    blocksKey: false,
  }
}
