/** Orders and payments, each once, and steps of several keys, by the process of a producer. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Mersal } from '../../../src/index.ts'
import type { UnitSender } from '../../../src/app/types.ts'
import { seededRandom } from '../../../scripts/seeded-random.ts'
import type { Desk } from '../desks/desk.ts'
import type { History } from '../history.ts'
import type { SourceOfProcess } from '../source.ts'
import { type Pace, paceOfClerks } from './pace.ts'
import { featureTypes, partsOf, STEP_KEYS } from './plan.ts'

export interface FeatureProduction<Tx> {
  readonly desk: Desk<Tx>
  readonly app: Mersal<Tx>
  readonly core: SourceOfProcess['core']
  readonly history: History
  readonly seed: number
  /** Nothing more is begun after it. */
  readonly enough: AbortSignal
}

const LANES = 3
const PAUSE_MS = 60
const AGAIN_MS = 100
/** A process that comes back repeats the last requests: it does not know which were answered. */
const REPEATED = 8
/** So long a request is repeated after the order to be quiet. */
const LAST_MS = 20_000

type Work<Tx> = (tx: Tx, sender: UnitSender, stamp: string) => Promise<void>

export async function produceFeatures<Tx>(production: FeatureProduction<Tx>): Promise<void> {
  const { desk, seed } = production
  const random = seededRandom(seed * 13)
  const [row] = await persistently(production, () =>
    desk.ask(`select coalesce(max(number), 0) as n from ${desk.prefix}starts`),
  )
  let next = Math.max(0, Number(row?.['n'] ?? 0) - REPEATED)
  const pace = paceOfClerks(desk, production.enough)
  const lane = async (): Promise<void> => {
    while (await pace.room()) {
      next += 1
      await order(production, random, next)
      await sleep(PAUSE_MS * 2 * random())
    }
  }
  await Promise.all([...Array.from({ length: LANES }, lane), stepping(production, random, pace)])
}

async function order<Tx>(
  production: FeatureProduction<Tx>,
  random: () => number,
  number: number,
): Promise<void> {
  const { desk, core } = production
  const start = core.command<{ number: number }>(featureTypes.start)
  const pay = core.command<{ number: number; part: number }>(featureTypes.pay)
  const partitionKey = `order ${number}`
  await request(production, random, `start ${number}`, async (tx, { send }, stamp) => {
    const sql = `insert into ${desk.prefix}starts (number, stamp) values (?, ?)`
    await desk.run(tx, sql, number, stamp)
    await send(start, { number }, { partitionKey })
  })
  for (const part of partsOf(number))
    await request(production, random, `pay ${number} ${part}`, async (tx, { send }, stamp) => {
      const sql = `insert into ${desk.prefix}payments (number, part, stamp) values (?, ?, ?)`
      await desk.run(tx, sql, number, part, stamp)
      await send(pay, { number, part }, { partitionKey })
    })
}

/** Until it has an answer, and sometimes once more. */
async function request<Tx>(
  production: FeatureProduction<Tx>,
  random: () => number,
  key: string,
  work: Work<Tx>,
): Promise<void> {
  const { app, history } = production
  const times = random() < 0.3 ? 2 : 1
  for (let time = 0; time < times; time += 1) {
    const answer = await persistently(production, () =>
      app.once({ key, fingerprint: key, waitMs: 2000 }, async (tx, sender) => {
        const stamp = randomUUID()
        await work(tx, sender, stamp)
        return { stamp }
      }),
    ).catch(() => undefined)
    if (answer === undefined) return
    history.note({ op: 'once', phase: 'ok', key, stamp: answer.response.stamp })
  }
}

/** Of each key the next number, in the transaction that sends it. */
async function stepping<Tx>(
  production: FeatureProduction<Tx>,
  random: () => number,
  pace: Pace,
): Promise<void> {
  const { app, core, desk } = production
  const step = core.command<{ key: number; seq: number }>(featureTypes.step)
  const table = `${desk.prefix}sent_steps`
  while (await pace.room()) {
    const key = Math.floor(random() * STEP_KEYS)
    await app
      .transaction(async (tx, { send }) => {
        const sql = `select coalesce(max(seq), 0) as n from ${table} where step_key = ?`
        const [row] = await desk.run(tx, sql, key)
        const seq = Number(row?.['n'] ?? 0) + 1
        await desk.run(tx, `insert into ${table} (step_key, seq) values (?, ?)`, key, seq)
        await send(step, { key, seq }, { partitionKey: `step ${key}` })
      })
      .catch(() => sleep(AGAIN_MS))
    await sleep(PAUSE_MS * random())
  }
}

async function persistently<Tx, Result>(
  { enough }: FeatureProduction<Tx>,
  call: () => Promise<Result>,
): Promise<Result> {
  let since: number | undefined
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (enough.aborted) since ??= performance.now()
      if (since !== undefined && performance.now() - since > LAST_MS) throw error
      await sleep(AGAIN_MS)
    }
  }
}
