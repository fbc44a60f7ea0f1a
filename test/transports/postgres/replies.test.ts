import { describe, expect, test } from 'vitest'
import { command, Mersal } from '../../../src/index.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { queueHarness } from '../../postgres/queue-harness.ts'

const Quote = command<object, { cents: number }>('prices.quote')

describe.skipIf(!(await serverAnswers()))('a queue for replies in PostgreSQL', () => {
  test('P10: that was removed is made again and read, after the request that got no reply', async () => {
    await using harness = await queueHarness()
    const queues = new Set<string>()
    const prices = new Mersal({ name: 'prices', transport: harness.queue(), logger: false })
    prices.handle(Quote, async (_, { reply, message }) => {
      queues.add(message.headers['reply-to'] ?? '')
      await reply({ cents: 1 })
    })
    const routes = { [Quote.name]: 'prices' }
    const options = { name: 'shop', transport: harness.queue(), routes, sendOnly: true }
    const shop = new Mersal({ ...options, logger: false })
    await Promise.all([prices.start(), shop.start()])
    expect(await shop.request(Quote, {})).toEqual({ cents: 1 })
    const [queue = ''] = queues
    expect(await harness.queue().removeQueue?.(queue)).toEqual({ kind: 'removed' })
    const lost = shop.request(Quote, {}, { timeoutMs: 300 })
    await expect(lost).rejects.toMatchObject({ code: 'MERSAL_NO_REPLY' })
    expect(await shop.request(Quote, {})).toEqual({ cents: 1 })
    await Promise.all([shop.stop(), prices.stop()])
  })
})
