import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { DeadLetterBox } from '../../src/core/dead-letter.ts'
import type { Transport } from '../../src/core/transport.ts'
import { serverUrl, testDatabase } from '../postgres/database.ts'
import { countEffects, endWorker, makeTables, moveOf, startWorker } from './processes.ts'
import type { Broker, OrderPlan } from './worker.ts'

const ACCOUNTS = 30
const TURNS = 4
const POISON = 10
const MOST_OPEN = 600

const isPoison = (account: number, number: number): boolean =>
  account % 10 === 0 && number === POISON

function send(transport: Transport, queue: string, account: number, number: number) {
  const move = moveOf(queue, `account-${account}`, number, isPoison(account, number))
  return transport.publish([move])[0]!
}

export interface Place {
  /** Sends. */
  readonly transport: Transport
  readonly queue: string
  /** What the processes read from. */
  readonly broker: Broker
  readonly lettersOf: (queue: string) => DeadLetterBox
  /** A process that stands still for so long loses what it has, in milliseconds. */
  readonly freezeMs: number
}

/**
 * Three processes read in order; they are killed, stopped and frozen in turn. Every message of a
 * key is handled once and in order, and the poisoned ones are dead letters.
 */
export async function threeProcesses({
  transport,
  queue,
  broker,
  lettersOf,
  freezeMs,
}: Place): Promise<void> {
  await using database = await testDatabase()
  const { schema } = database
  await makeTables(database)
  const plan: OrderPlan = { broker, database: serverUrl, schema, name: queue }
  const children = [await startWorker(plan)]
  children.push(...(await Promise.all([startWorker(plan), startWorker(plan)])))
  const calm = new AbortController()
  const nemesis = (async () => {
    for (let turn = 0; turn < TURNS && !calm.signal.aborted; turn++) {
      const child = children.shift()!
      if (turn % 3 === 2) {
        child.kill('SIGSTOP')
        await sleep(freezeMs)
        child.kill('SIGCONT')
        children.push(child)
      } else {
        await endWorker(child, turn % 3 === 0 ? 'SIGKILL' : 'SIGTERM')
        children.push(await startWorker(plan))
      }
      await sleep(1500)
    }
    calm.abort()
  })()
  let sent = 0
  try {
    while (!calm.signal.aborted || sent < 2 * POISON) {
      const number = ++sent
      const outcomes = await Promise.all(
        Array.from({ length: ACCOUNTS }, (_, account) => send(transport, queue, account, number)),
      )
      expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
      await sleep(300)
      // No more than a busy machine handles.
      while (ACCOUNTS * sent - (await countEffects(database)) > MOST_OPEN) await sleep(200)
    }
    await nemesis
    const wanted = ACCOUNTS * sent - ACCOUNTS / 10
    const deadline = Date.now() + 120_000
    while ((await countEffects(database)) < wanted && Date.now() < deadline) await sleep(200)
    expect(await countEffects(database)).toBe(wanted)
    const wrong = await database.query(
      `select * from ${schema}.effects where earlier <> number - 1 -
           case when number > ${POISON} and account in ('account-0', 'account-10', 'account-20') then 1 else 0 end`,
    )
    expect(wrong).toEqual([])
    const letters = await lettersOf(queue).list()
    expect(letters).toHaveLength(3)
    expect(new Set(letters.map(({ headers }) => headers['partition-key']))).toEqual(
      new Set(['account-0', 'account-10', 'account-20']),
    )
    // Three deliveries as the options say, and what each of the turns may have cut short.
    const tries = await database.query(
      `select account, number, count(*)::int as tries from ${schema}.tries group by account, number`,
    )
    expect(tries.map(({ number }) => number)).toEqual([POISON, POISON, POISON])
    for (const row of tries) {
      expect(row['tries']).toBeGreaterThanOrEqual(3)
      expect(row['tries']).toBeLessThanOrEqual(3 + TURNS)
    }
    const processes = await database.query(`select distinct process from ${schema}.effects`)
    expect(processes.length).toBeGreaterThan(3)
  } finally {
    calm.abort()
    await nemesis
    await Promise.all(children.map((child) => endWorker(child, 'SIGKILL')))
  }
}
