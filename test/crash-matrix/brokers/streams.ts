/** Brokers that keep their messages where they are when somebody looks at them. */
import type { Transport } from '../../../src/core/transport.ts'
import { partOf } from '../databases/database.ts'
import { NOWHERE, topics } from '../plan.ts'
import type { CellBroker, Names } from './broker.ts'

/** A message as a plain client finds it. */
export interface Seen {
  readonly id: string
  readonly type: string
  readonly body: Uint8Array
}

export interface Streams extends AsyncDisposable {
  readonly url: string
  readonly versions: CellBroker['versions']
  /** As programs reach it. */
  readonly open: (names: Names) => Promise<Transport>
  /** What is there; nothing if there is no such queue. */
  readonly read: (names: Names, kind: 'queue' | 'dead', queue: string) => Promise<readonly Seen[]>
  /** How much waits for the consumer. */
  readonly waiting: (names: Names) => Promise<number>
  /** What is there of the queue of the consumer besides its dead letters, as texts. */
  readonly rest: (names: Names) => Promise<readonly string[]>
  readonly drop: (names: Names) => Promise<void>
}

const tapOf = ({ queue }: Names): string => `${queue}.tap`
const nowhereOf = ({ queue }: Names): string => `${queue}.${NOWHERE}`

export function streamCells(streams: Streams): CellBroker {
  const { url, versions, open, read, waiting, rest, drop } = streams
  const subscribed = async (
    names: Names,
    queues: Readonly<Record<string, readonly string[]>>,
  ): Promise<void> => {
    await using transport = await open(names)
    for (const [queue, topics] of Object.entries(queues)) await transport.subscribe(queue, topics)
  }
  return {
    url,
    versions,
    prepare: (names) =>
      subscribed(names, {
        [names.queue]: [topics.registered],
        [tapOf(names)]: [topics.registered, topics.billed],
      }),
    putRight: (names) => subscribed(names, { [nowhereOf(names)]: [] }),
    letters: async (names) =>
      new Set((await read(names, 'dead', names.queue)).map(({ id }) => id)).size,
    waiting,
    async left(names) {
      const tap = await read(names, 'queue', tapOf(names))
      const dead = await read(names, 'dead', names.queue)
      const nowhere = await read(names, 'queue', nowhereOf(names))
      return {
        tap: tap.map(({ id, type, body }) => ({ id, topic: type, ...partOf(body) })),
        nowhere: nowhere.map(({ body }) => partOf(body)),
        deadIncoming: dead.map(({ body }) => partOf(body)),
        left: await rest(names),
      }
    },
    drop,
    [Symbol.asyncDispose]: () => streams[Symbol.asyncDispose](),
  }
}
