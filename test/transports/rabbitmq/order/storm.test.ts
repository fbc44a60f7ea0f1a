import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rabbitmq } from '../../../../src/rabbitmq.ts'
import { brokerProblem } from '../../../../scripts/servers/rabbitmq.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../../postgres/database.ts'
import { openPrivateBroker, type PrivateBroker } from '../../../rabbitmq/broker.ts'
import {
  countEffects,
  endWorker,
  makeTables,
  moveOf,
  startWorker,
} from '../../../order/processes.ts'
import type { OrderPlan } from '../../../order/worker.ts'

const here = brokerProblem() === undefined && (await serverAnswers())
let broker: PrivateBroker
beforeAll(async () => {
  if (here) broker = await openPrivateBroker()
})
afterAll(() => broker?.[Symbol.asyncDispose]())

const ACCOUNTS = 50
const MOVES = 40
const ALL = ACCOUNTS * MOVES

describe.skipIf(!here)(
  'RabbitMQ in order, a backlog, killed processes, and a broker that restarts',
  () => {
    test('lose nothing, change no order, and no message dies for another', {
      timeout: 240_000,
    }, async () => {
      await using database = await testDatabase()
      await makeTables(database)
      const { schema } = database
      const queue = `q-${randomUUID()}`
      await using transport = rabbitmq({ url: broker.url, logger: false, newQueuePauseMs: 0 })
      await transport.subscribe(queue, [])
      for (let number = 1; number <= MOVES; number++) {
        const moves = Array.from({ length: ACCOUNTS }, (_, account) =>
          moveOf(queue, `account-${account}`, number),
        )
        const outcomes = await Promise.all(transport.publish(moves))
        expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
      }
      const plan: OrderPlan = {
        broker: { kind: 'rabbitmq', url: broker.url, eventsExchange: `events-${queue}` },
        database: serverUrl,
        schema,
        name: queue,
      }
      const until = async (share: number): Promise<void> => {
        for (const deadline = Date.now() + 100_000; Date.now() < deadline; await sleep(20))
          if ((await countEffects(database)) >= share * ALL) return
        expect(await countEffects(database)).toBe(share * ALL)
      }
      const children: ChildProcess[] = []
      try {
        children.push(...(await Promise.all(Array.from({ length: 4 }, () => startWorker(plan)))))
        await until(0.2)
        await endWorker(children[0]!, 'SIGKILL')
        await until(0.4)
        await Promise.all([
          endWorker(children[1]!, 'SIGKILL'),
          startWorker(plan).then((child) => children.push(child)),
        ])
        await until(0.6)
        await broker.stop()
        await broker.start()
        await until(0.8)
        await endWorker(children[2]!, 'SIGKILL')
        await until(1)
      } finally {
        await Promise.all(children.map((child) => endWorker(child, 'SIGKILL')))
      }
      const wrong = await database.query(
        `select * from ${schema}.effects where earlier <> number - 1`,
      )
      expect(wrong).toEqual([])
      expect(await transport.deadLettersOf(queue).list()).toEqual([])
    })
  },
)
