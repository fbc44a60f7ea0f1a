/** The same points of trouble for every candidate. Each returns what a reader wants to know. */
import type { Library } from './candidate.ts'
import { ORDERED, POISON } from './plan.ts'
import type { Stage } from './stage.ts'

export interface Outcome {
  /** Whether nothing was lost, invented, repeated or out of order. */
  readonly kept: boolean
  readonly text: string
}

export const scenarios = {
  commit: 'killed when its transaction has committed',
  refused: 'the commit fails',
  poison: 'a message whose handler always fails',
  order: 'order per key, one message of each fails once',
} as const

export type Scenario = keyof typeof scenarios

/** Seconds that a candidate may take to bring what it owes. */
const PATIENCE_S = 60

const seconds = (s: number): string => (s < 1 ? 'within a second' : `after ${Math.round(s)} s`)

async function commit(stage: Stage): Promise<Outcome> {
  const bodies = [{ line: 'kill', n: 1 }]
  await using sender = await stage.start({ role: 'sender', trap: 'commit', bodies })
  const how = await sender.ended
  const [row] = await stage.query('select from business where line = $1', ['kill'])
  if (how !== 'SIGKILL' || row === undefined) throw new Error(`the trap did not catch: ${how}`)
  await using _consumer = await stage.start({ role: 'consumer' })
  const took = await stage.within(
    PATIENCE_S / 2,
    async () => (await stage.effects('kill')).length > 0,
  )
  return took === undefined
    ? { kept: false, text: 'message lost' }
    : { kept: true, text: `published ${seconds(took)}` }
}

async function refused(stage: Stage): Promise<Outcome> {
  await stage.query(`insert into business values ('twice', 1)`)
  const bodies = [
    { line: 'twice', n: 1 },
    { line: 'sentinel', n: 1 },
  ]
  await using sender = await stage.start({ role: 'sender', order: 'send first', bodies })
  const [first] = await sender.done
  if (first?.how !== 'failed') throw new Error(`the commit did not fail: ${first?.how}`)
  await using _consumer = await stage.start({ role: 'consumer' })
  const came = await stage.within(
    PATIENCE_S,
    async () => (await stage.effects('sentinel')).length > 0,
  )
  if (came === undefined) throw new Error('the message behind it did not come')
  const phantom = (await stage.effects('twice')).length > 0
  return phantom
    ? { kept: false, text: 'message of a transaction that never was' }
    : { kept: true, text: 'no message' }
}

async function poison(stage: Stage, library: Library): Promise<Outcome> {
  const bodies = [1, 2, 3, 4, 5].map((n) => ({ line: n === 1 ? POISON : `${POISON} ${n}`, n }))
  await using _consumer = await stage.start({ role: 'consumer' })
  await using sender = await stage.start({ role: 'sender', bodies })
  await sender.done
  const others = async (): Promise<boolean> =>
    (await stage.query(`select from effect where line like '${POISON} %'`)).length >= 4
  const passed = await stage.within(PATIENCE_S, others)
  const query = { query: async (text: string) => ({ rows: await stage.query(text) }) }
  const given = await stage.within(
    PATIENCE_S * 2,
    async () => (await library.given(stage.servers, query)) > 0,
  )
  if (passed === undefined) return { kept: false, text: 'it holds up the others' }
  return given === undefined
    ? { kept: false, text: 'nowhere to be found' }
    : { kept: true, text: `set aside ${seconds(given)}` }
}

const EACH = 12

async function order(stage: Stage): Promise<Outcome> {
  await using _one = await stage.start({ role: 'consumer' })
  await using _two = await stage.start({ role: 'consumer' })
  const bodies = Array.from({ length: EACH }, (_, index) =>
    ORDERED.map((line) => ({ line, n: index + 1 })),
  ).flat()
  await using sender = await stage.start({ role: 'sender', bodies })
  await sender.done
  const all = `select distinct line, n from effect where line like 'key %'`
  const took = await stage.within(
    PATIENCE_S * 2,
    async () => (await stage.query(all)).length === bodies.length,
  )
  if (took === undefined) return { kept: false, text: 'not all of them came' }
  const wrong = await Promise.all(
    ORDERED.map(async (line) => {
      const came = await stage.effects(line)
      return came.some((n, index) => index > 0 && n <= (came[index - 1] ?? 0))
    }),
  )
  const keys = wrong.filter(Boolean).length
  return keys > 0
    ? { kept: false, text: `out of order, ${keys} keys of ${ORDERED.length}` }
    : { kept: true, text: 'in order' }
}

export const plays: Readonly<
  Record<Scenario, (stage: Stage, library: Library) => Promise<Outcome>>
> = { commit, refused, poison, order }
