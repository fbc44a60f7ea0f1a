import { describe, expect, test } from 'vitest'
import type { LifePlan } from '../../src/prove/plan.ts'
import { environment } from '../../src/prove/run/environment.ts'
import { type Remains, verdict } from '../../src/prove/run/verdict.ts'

const good: Remains = {
  actions: 3,
  rows: [1, 2, 3],
  effects: [2, 1, 3],
  waiting: 0,
  dead: 0,
  failures: [],
  keys: [],
  trouble: undefined,
}
const broken = (change: Partial<Remains>): readonly string[] =>
  verdict({ ...good, ...change }).map(({ promise, text }) => `${promise}: ${text}`)

describe('the verdict', () => {
  test('finds nothing where every message took effect once', () => {
    expect(broken({})).toEqual([])
  })

  test('tells a lost message from one that waits and one that was given up', () => {
    expect(broken({ effects: [1, 2] })).toEqual([
      'together: action 3 left rows, and no message came',
    ])
    expect(broken({ effects: [1, 2], waiting: 1 })).toEqual([
      'arrives: action 3 took no effect; 1 messages still wait',
    ])
    expect(broken({ effects: [1, 2], dead: 1 })).toEqual([
      'arrives: action 3 took no effect; 1 dead letters are there',
    ])
  })

  test('finds a message without its row, and an effect that came twice', () => {
    expect(broken({ rows: [1, 2] })).toEqual([
      'together: the message of action 3 was handled, and its rows are not there',
    ])
    expect(broken({ effects: [1, 2, 3, 2, 3] })).toEqual([
      'once: the message of actions 2, 3 took effect more than once',
    ])
  })

  test('looks at the order of a key alone', () => {
    expect(broken({ keys: ['a', 'b', 'a'] })).toEqual([])
    expect(broken({ keys: ['a', 'a', 'b'] })).toEqual([
      'order: the message of action 1 took effect after a later one of its key',
    ])
  })

  test('expects nothing of actions that were taken back, and everything of the others', () => {
    const undo = { trouble: 'undo' as const }
    expect(broken({ ...undo, rows: [1, 2], effects: [1, 2] })).toEqual([])
    expect(broken({ ...undo, effects: [1, 2] })).toEqual([
      'together: action 3 threw in the transaction, and the rows are there all the same',
    ])
    expect(broken({ ...undo, rows: [1, 2] })).toEqual([
      'together: action 3 threw in the transaction, and the message was handled all the same',
    ])
  })

  test('lets one message be poisoned, and no other one', () => {
    expect(broken({ trouble: 'poison', effects: [1, 2], waiting: 1 })).toEqual([])
    expect(broken({ trouble: 'poison', effects: [1], waiting: 2 })).toHaveLength(1)
  })

  test('tells an action that failed from one that failed and left rows', () => {
    const failures = [{ n: 3, error: 'no' }]
    expect(broken({ rows: [1, 2], effects: [1, 2], failures })).toEqual([
      'together: action 3 failed: no',
    ])
    expect(broken({ failures })).toEqual([
      'together: action 3 failed, and left rows all the same: no',
    ])
  })
})

test('the program finds no address but those of its place in its environment', () => {
  const plan: LifePlan = {
    file: '/p/mersal.prove.ts',
    folder: '/tmp/x',
    databaseUrl: 'sqlite:/tmp/x/app.db',
    brokerUrl: undefined,
    role: 'run',
    log: '/tmp/x/points.log',
  }
  const env = {
    HOME: '/root',
    DATABASE_URL: 'postgres://u:p@production/shop',
    ORDERS_DB: 'mysql://u:p@production/shop',
    AMQP_URL: 'amqp://production',
    PGHOST: 'production',
    MERSAL_PROVE_DATABASE_URL: 'postgres://admin@here/postgres',
  }
  const { MERSAL_PROVE_PLAN, ...left } = environment(env, plan)
  expect(left).toEqual({ HOME: '/root', DATABASE_URL: 'sqlite:/tmp/x/app.db' })
  expect(JSON.parse(MERSAL_PROVE_PLAN ?? '')).toEqual(plan)
})
