/**
 * Watches the client of Kafka. A commit of offsets acknowledges what is handled; with a time beside
 * an offset it stands for the copy for a retry. A record without a body takes a dead letter away.
 */
import { Connection, fetchV17, offsetCommitV9, produceV11 } from '@platformatic/kafka'
import { decodeLedger } from '../../../src/transports/kafka/consume/ledger.ts'
import { acknowledging, answered, here, type Line, lost, publishing } from './line.ts'
import { at } from './steps.ts'

/** What a call of the client gives to the broker is with the system when the call returns. */
const lineOf = ({ socket }: Connection): Line => ({ flush() {}, socket })

type Ask<Given extends unknown[], Answer> = (
  this: unknown,
  connection: Connection,
  ...given: Given
) => Promise<Answer>

/** In the place of a question to the broker, whoever asks it. */
function watch<Given extends unknown[], Answer>(
  api: { async: Ask<Given, Answer> },
  around: (line: Line, ask: () => Promise<Answer>, given: Given) => Promise<Answer>,
): void {
  const { async: ask } = api
  api.async = (connection, ...given) =>
    around(lineOf(connection), () => ask.call(api, connection, ...given), given)
}

/** The places of dead letters that the broker has, as `topic partition offset`. */
const buried = new Set<string>()

interface Sent {
  readonly topic: string
  readonly key?: Buffer
  readonly value?: Buffer | null
}

type Produce = Ask<[acks: number, timeout: number, messages: readonly Sent[]], unknown>

function watchProducing(): void {
  watch(produceV11.api as unknown as { async: Produce }, (line, ask, [, , messages]) => {
    const [{ topic, key, value } = { topic: '' }] = messages
    let answer = Promise.resolve<unknown>(undefined)
    const write = (): void => void (answer = ask())
    if (topic.includes('.queue.')) {
      const ticket = {}
      publishing(line, ticket, write)
      return answer.finally(() => setImmediate(answered, ticket))
    }
    if (!topic.includes('.dead.')) return ask()
    if (value === null || value === undefined) acknowledging(line, 'ack', write)
    else {
      buried.add(String(key).split(' ').slice(0, 3).join(' '))
      write()
      here(line, 'move(dead):written')
    }
    return answer
  })
}

interface Committed {
  readonly name: string
  readonly partitions: readonly {
    readonly partitionIndex: number
    readonly committedOffset: bigint
    readonly committedMetadata?: string | null
  }[]
}

/** What is known of each partition: how much is handled, and what waits for a retry. */
const noted = new Map<string, { readonly handled: number; readonly waits: ReadonlySet<string> }>()

/** What this commit does beside handing messages out. */
function meaningOf(topics: readonly Committed[]): readonly ('ack' | 'ack(dead)' | 'retry')[] {
  return topics.flatMap(({ name, partitions }) =>
    partitions.flatMap(({ partitionIndex, committedOffset, committedMetadata }) => {
      const base = Number(committedOffset)
      const { done, marks } = decodeLedger(base, committedMetadata)
      const place = `${name} ${partitionIndex}`
      const waits = new Set(
        [...marks].flatMap(([to, { due }]) => (due > 0 ? [`${to} ${due}`] : [])),
      )
      const now = { handled: base + done.size, waits }
      const before = noted.get(place)
      noted.set(place, now)
      // The first one of a partition hands out.
      if (before === undefined) return []
      const dead = [...buried].filter((letter) => {
        const offset = Number(letter.slice(place.length + 1))
        return letter.startsWith(`${place} `) && (offset < base || done.has(offset))
      })
      for (const letter of dead) buried.delete(letter)
      const isRetry = [...waits].some((wait) => !before.waits.has(wait))
      const ack = dead.length > 0 ? ('ack(dead)' as const) : ('ack' as const)
      return [
        ...(now.handled > before.handled ? [ack] : []),
        ...(isRetry ? (['retry'] as const) : []),
      ]
    }),
  )
}

type Commit = Ask<
  [group: string, epoch: number, id: string, instance: null, topics: readonly Committed[]],
  unknown
>

function watchCommitting(): void {
  watch(offsetCommitV9.api as unknown as { async: Commit }, (line, ask, [, , , , topics]) => {
    const meaning = meaningOf(topics)
    const acks = meaning.filter((one) => one !== 'retry')
    if (meaning.includes('retry')) at('ack(retry):before')
    for (const ack of acks) at(`${ack}:before`)
    const answer = ask()
    if (meaning.includes('retry')) here(line, 'move(retry):written')
    for (const ack of acks) here(line, `${ack}:written`)
    return answer
  })
}

interface Fetched {
  readonly responses: readonly { readonly partitions: readonly { readonly records?: unknown }[] }[]
}

function watchFetching(): void {
  watch(fetchV17.api as unknown as { async: Ask<unknown[], Fetched> }, async (_, ask) => {
    const answer = await ask()
    const isSome = ({ records }: { readonly records?: unknown }): boolean =>
      Array.isArray(records) ? records.length > 0 : records !== null && records !== undefined
    if (answer.responses.some(({ partitions }) => partitions.some(isSome))) at('deliver')
    return answer
  })
}

type Connect = (this: Connection, ...given: unknown[]) => unknown

export function watchKafka(): void {
  watchProducing()
  watchCommitting()
  watchFetching()
  const prototype = Connection.prototype as unknown as { connect: Connect }
  const { connect } = prototype
  prototype.connect = function (...given) {
    at('connect')
    this.once('close', lost)
    return connect.apply(this, given)
  }
}
