import { describe, expect, test } from 'vitest'
import { nameOf, namesOf, tokenOf } from '../../../../src/transports/kafka/topology/names.ts'

describe('names on Kafka', () => {
  const names = ['students.registrar', 'a_b', 'a:b', 'a/b', 'a-b', 'A_5fb', 'x__/::y']

  test('come back as they were, and no two share a topic', () => {
    expect(names.map((name) => nameOf(tokenOf(name)))).toEqual(names)
    expect(new Set(names.map(tokenOf)).size).toBe(names.length)
    for (const name of names) expect(tokenOf(name)).toMatch(/^[A-Za-z0-9._-]+$/)
  })

  test('that are too long for a topic are refused', () => {
    expect(() => namesOf('mersal').queueTopic(`a${'_'.repeat(150)}`)).toThrow(/249/)
  })

  test('of topics of others are no queues', () => {
    const names = namesOf('mersal')
    expect(names.queueOf(names.queueTopic('orders'))).toBe('orders')
    expect(names.queueOf('mersal.dead.orders')).toBeUndefined()
    expect(names.queueOf('other.queue.orders')).toBeUndefined()
  })
})
