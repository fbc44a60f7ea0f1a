import type { DocumentKey, DocumentStorage, HeldDocument } from '../../core/records/documents.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { CLAIM_BYTES } from '../../core/messages/bytes.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import {
  checkLogger,
  checkNumber,
  checkOptions,
  checkShape,
  invalidOption,
} from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import { encoded, isPrefix, prefixOf, prefixRule, runScript } from '../../lib/redis-script.ts'
import { toError } from '../../lib/async/abort.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { type Commands, documentDeadLetters } from './dead-letters.ts'
import { pack, unpack } from './pack.ts'
import { documentScripts } from './scripts.ts'

/** A client of `@redis/client` that is connected, as far as it is needed. */
export interface RedisCommands {
  sendCommand(
    args: (string | Buffer)[],
    options?: { readonly typeMapping: { readonly 36: typeof Buffer } },
  ): Promise<unknown>
}

/** Options of `redisDocuments()`. */
export interface RedisDocumentsOptions {
  /** A client of `@redis/client` that is connected. */
  readonly client: RedisCommands
  /** Begins every key: `{mersal}:`. Default 'mersal'. */
  readonly prefix?: string
  /**
   * How long a document knows which messages have changed it, in milliseconds. From 1,000 to a
   * year. Default 7 days. Not shorter than the longest redelivery.
   */
  readonly handledForMs?: number
  /** `false` logs nothing. Default: warnings and errors as JSON lines to standard error. */
  readonly logger?: Logger | false
}

/** Messages of one document that a relay gets at once. */
const MOST_MESSAGES = 100
/** One command writes a change: Lua takes some thousand arguments, and Redis 1 GB of them. */
const MOST_OF_A_CHANGE = { messages: 1000, bytes: 256 * 1024 * 1024 }
const asBytes = { typeMapping: { 36: Buffer } } as const

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
  checkOptions('redisDocuments', options, ['client', 'prefix', 'handledForMs', 'logger'])
  checkShape('redisDocuments.client', options.client, ['sendCommand'])
  const { client, prefix: given = 'mersal' } = options
  if (!isPrefix(given)) throw invalidOption('redisDocuments.prefix', prefixRule)
  const week = { default: 604_800_000, min: 1000, max: 31_536_000_000 }
  const handledForMs = checkNumber('redisDocuments.handledForMs', options.handledForMs, week)
  const logger = checkLogger('redisDocuments.logger', options.logger)
  const prefix = prefixOf(given)
  const send: Commands['send'] = (args) => client.sendCommand(args.map(encoded), asBytes)
  const run: Commands['run'] = (name, args) => runScript(send, documentScripts[name], prefix, args)
  return {
    load: loading(run),
    save: saving(run, handledForMs),
    ...relaying(run, { prefix, logger }),
    deadLetters: documentDeadLetters({ run, send }, prefix),
  }
}

const inboxName = (handling?: { readonly consumer: string; readonly messageId: string }): string =>
  handling === undefined ? '' : `${handling.consumer}/${handling.messageId}`

function loading(run: Commands['run']): DocumentStorage['load'] {
  return async (key, handling) => {
    const found = await run('load', [nameOf(key), inboxName(handling)]).catch((cause: unknown) => {
      const text = `redis: the document ${nameOf(key)} could not be read`
      throw new MersalError('MERSAL_STORE_FAILED', text, { cause })
    })
    const [state, version, handled] = found as [Buffer | null, number, number]
    return { state: state ?? undefined, version, handled: handled === 1 }
  }
}

function saving(run: Commands['run'], handledForMs: number): DocumentStorage['save'] {
  return async ({ key, version, state, messages, handling }) => {
    const name = nameOf(key)
    const there = state === undefined ? ['0', ''] : ['1', state]
    const packed = messages.map(pack)
    const bytes = packed.reduce((sum, { byteLength }) => sum + byteLength, state?.byteLength ?? 0)
    checkSize(name, packed.length, bytes)
    const about = [name, version, ...there, inboxName(handling), handledForMs]
    try {
      const answer = String(await run('save', [...about, ...packed]))
      return answer === 'saved' || answer === 'conflict' ? answer : 'handled'
    } catch (cause) {
      const code = isCertain(cause) ? 'MERSAL_STORE_FAILED' : 'MERSAL_COMMIT_UNKNOWN'
      const what = isCertain(cause) ? 'was not saved' : 'may or may not have been saved'
      throw new MersalError(code, `redis: the document ${name} ${what}`, { cause })
    }
  }
}

function checkSize(name: string, messages: number, bytes: number): void {
  const most = MOST_OF_A_CHANGE
  if (messages <= most.messages && bytes <= most.bytes) return
  throw new MersalError(
    'MERSAL_TOO_LARGE',
    `redis: a change of the document ${name} has ${messages} messages and ${bytes} bytes; the limits are ${most.messages} and ${most.bytes}: make several changes of it`,
    { details: { messages, bytes } },
  )
}

type Found = readonly [
  documents: readonly (readonly [
    name: Buffer,
    attempts: number,
    messages: readonly Buffer[],
    history: Buffer,
  ])[],
  bad: readonly Buffer[],
]

function relaying(
  run: Commands['run'],
  { prefix, logger }: { readonly prefix: string; readonly logger: Logger },
): Pick<DocumentStorage, 'findWithMessages' | 'removeMessages'> {
  const removeMessages: DocumentStorage['removeMessages'] = async (settlement) => {
    const { key, token, confirmed, attempts, retryMs, dead, history = '' } = settlement
    const { reason = '', error = '', maybePublished = false } = dead ?? {}
    const about = [nameOf(key), token, confirmed, attempts, Math.ceil(retryMs)]
    const fate = [reason, error, maybePublished ? '1' : '', history]
    return (await run('remove', [...about, ...fate])) === 1
  }
  // Its own failure is no reason to lose hold of the others: it comes again after its time.
  const setAside = async (key: DocumentKey, token: string, problems: string[]): Promise<void> => {
    try {
      await removeMessages({ key, token, ...unreadable })
    } catch (error) {
      problems.push(`${prefix}doc:${nameOf(key)}: ${toError(error).message}`)
    }
  }
  const isNews = seldom(systemClock, 60_000)
  const tell = (problems: readonly string[], held: number): void => {
    const text = `redis: cannot read ${problems.join('; ')}`
    if (held === 0) throw new MersalError('MERSAL_STORE_FAILED', text)
    if (isNews(text)) logger.warn({ documents: problems.length }, text)
  }
  return {
    removeMessages,
    async findWithMessages({ limit, holdMs, token }) {
      const args = ['', limit, holdMs, token, MOST_MESSAGES, CLAIM_BYTES]
      const [found, bad] = (await run('find', args)) as Found
      const problems = bad.map(String)
      const held: HeldDocument[] = []
      for (const [name, attempts, packed, noted] of found) {
        const key = keyOf(String(name))
        const messages = readable(packed)
        const history = String(noted)
        const past = history === '' ? {} : { history }
        if (messages.length > 0) held.push({ key, attempts, messages, ...past })
        else await setAside(key, token, problems)
      }
      if (problems.length > 0) tell(problems, held.length)
      return held
    },
  }
}

const unreadable = {
  confirmed: 0,
  dead: { reason: 'undecodable', error: 'what is stored is no message', maybePublished: false },
  attempts: 0,
  retryMs: 0,
} as const

/** Those in front of the first one that cannot be read. */
function readable(packed: readonly Buffer[]): readonly OutgoingMessage[] {
  const messages: OutgoingMessage[] = []
  for (const bytes of packed) {
    const message = unpack(bytes)
    if (message === undefined) break
    messages.push(message)
  }
  return messages
}
