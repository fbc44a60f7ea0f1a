import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { lastingName, replyQueue } from '../../../src/core/messages/reply-queues.ts'
import { isQueueName } from '../../../src/core/messages/validation.ts'
import { uuidv7 } from '../../../src/lib/uuid.ts'

const page = readFileSync(new URL('../../../docs/replies.md', import.meta.url), 'utf8')
const startedAt = Date.UTC(2026, 10, 30)
const queue = replyQueue('shop', uuidv7(startedAt))

describe('a queue for replies', () => {
  test('is found by the policy on the page, and the queue of an app is not', () => {
    const [, policy = 'none'] = /'(\\\.replies\S+)' '\{"expires"/.exec(page) ?? []
    expect(queue).toMatch(new RegExp(policy))
    for (const other of ['shop', 'shop.replies', 'shop.replies.old'])
      expect(other).not.toMatch(new RegExp(policy))
  })

  test('tells the program on the page when its process started', () => {
    const [, pattern = 'none'] = /\/(\\\.replies\S+)\/\.exec/.exec(page) ?? []
    const [, id = ''] = new RegExp(pattern).exec(queue) ?? []
    expect(page).toContain(`parseInt(id.replace('-', '').slice(0, 12), 16)`)
    expect(parseInt(id.replace('-', '').slice(0, 12), 16)).toBe(startedAt)
  })

  test('P9: has a name without its process for those who keep names', () => {
    expect(lastingName(queue)).toBe('shop.replies')
    expect(lastingName('shop')).toBe('shop')
  })

  test('has no longer name than a queue may have, whatever the app is called', () => {
    expect(replyQueue('a'.repeat(200), uuidv7(startedAt))).toSatisfy(isQueueName)
  })
})
