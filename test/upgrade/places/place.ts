import { drainQueue, openTap } from '../../rabbitmq/outage/tap.ts'
import { type Address, type Body, NOWHERE, TAP, topics } from '../plan.ts'

/** What a plain client sees, which is of no build. */
export interface Look {
  /** Messages that nobody has given up and no broker has confirmed. */
  readonly open: () => Promise<number>
  /** Those of them whose time has not come. */
  readonly notYet: () => Promise<number>
  /** How many messages of each line were committed. */
  readonly counters: () => Promise<Readonly<Record<string, number>>>
  readonly effects: () => Promise<readonly Body[]>
  /** Ids of kept messages, each once. */
  readonly kept: () => Promise<number>
}

export interface BrokerSide {
  /** Every copy of every event, in the order of arrival. */
  arrivals(): Promise<readonly Body[]>
  /** The same of the queue that is missing at first. */
  strays(): Promise<readonly Body[]>
  makeNowhere(): Promise<void>
}

export interface Place extends Look, BrokerSide, AsyncDisposable {
  readonly address: Address
  /** Lines of a configuration of the program, of the present build. */
  readonly config: string
}

export const faces: string = new URL('../../../src/', import.meta.url).href

const bodyOf = (content: Buffer): Body => JSON.parse(content.toString()) as Body

/** RabbitMQ, with a queue that gets every event. */
export async function rabbitSide(url: string): Promise<BrokerSide> {
  await openTap(url, TAP, 'mersal.events').bind([topics.booked])
  const drained = async (queue: string): Promise<readonly Body[]> =>
    (await drainQueue(url, queue)).map(({ content }) => bodyOf(content))
  return {
    arrivals: () => drained(TAP),
    strays: () => drained(NOWHERE),
    makeNowhere: () => openTap(url, NOWHERE, 'mersal.events').bind([]),
  }
}

type Rows = (text: string) => Promise<readonly Record<string, unknown>[]>

/** `names`: of the tables, in the words of this database. */
export function lookWith(
  query: Rows,
  names: {
    readonly outbox: string
    readonly notYet: string
    readonly sent: string
    readonly counter: string
    readonly effect: string
  },
): Look {
  const count = async (from: string): Promise<number> =>
    Number((await query(`select count(*) as n from ${from}`))[0]?.['n'])
  const bodies = async (from: string): Promise<Body[]> =>
    (await query(`select line, n from ${from}`)).map(({ line, n }) => ({
      line: String(line),
      n: Number(n),
    }))
  return {
    open: () => count(names.outbox),
    notYet: () => count(`${names.outbox} and ${names.notYet}`),
    counters: async () =>
      Object.fromEntries((await bodies(names.counter)).map(({ line, n }) => [line, n])),
    effects: () => bodies(names.effect),
    kept: () => count(`(select distinct id from ${names.sent}) as each_once`),
  }
}

/** The lines, as rows of an insert. */
export const firstCounters = (lines: readonly string[]): string =>
  lines.map((line) => `('${line}', 0)`).join(', ')
