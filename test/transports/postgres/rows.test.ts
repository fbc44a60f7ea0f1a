import { expect, test } from 'vitest'
import { serverAnswers } from '../../postgres/database.ts'
import { consume, queueHarness } from '../../postgres/queue-harness.ts'

test.skipIf(!(await serverAnswers()))(
  'P12: a plain client of pg reads what was published, and what was acknowledged is gone',
  async () => {
    await using harness = await queueHarness()
    const { schema, query } = harness.database
    const queue = harness.queue()
    await queue.subscribe('q', ['t'])
    const body = Uint8Array.from([0, 1, 255])
    const message = { id: 'any text', type: 'a.type', headers: { note: 'ключ' }, body }
    const to = { transport: 'default', kind: 'queue', name: 'q' } as const
    const outcomes = queue.publish([
      { ...message, partitionKey: 'k', to },
      { ...message, to: { ...to, kind: 'topic', name: 't' } },
    ])
    expect(await Promise.all(outcomes)).toEqual([{ kind: 'confirmed' }, { kind: 'confirmed' }])
    const rows = (): Promise<Record<string, unknown>[]> =>
      query(`select q.name, m.id, m.type, m.key, m.headers::json as headers, m.body, m.attempts, m.token
      from ${schema}.queue_message m join ${schema}.queue q on q.id = m.queue order by m.position`)
    const row = { ...message, name: 'q', body: Buffer.from(body), attempts: 0, token: null }
    expect(await rows()).toEqual([
      { ...row, key: 'k' },
      { ...row, key: null },
    ])
    expect(await consume(queue, 'q', 2)).toHaveLength(2)
    expect(await rows()).toEqual([])
  },
)
