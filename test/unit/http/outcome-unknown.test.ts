import { expect, test } from 'vitest'
import { idempotency, type OnceApp } from '../../../src/http/idempotency.ts'
import { MersalError } from '../../../src/index.ts'

/** An app whose commits are never answered. */
const app: OnceApp<object> = {
  once: (_request, work) => lost(work),
  transaction: (work) => lost(work),
}

async function lost(work: (tx: object, sender: never) => Promise<unknown>): Promise<never> {
  await work({}, undefined as never)
  throw new MersalError('MERSAL_COMMIT_UNKNOWN', 'the answer was lost')
}

const post = (headers: Record<string, string>): Request =>
  new Request('http://localhost/checkout', { method: 'POST', headers, body: '{}' })
const route = idempotency(app, { required: false }).fetch(() => Response.json({ order: 1 }))

test('with a key, an outcome that is unknown is 503: a repeat takes effect once', async () => {
  const answer = await route(post({ 'idempotency-key': '"k"' }))
  expect(answer.status).toBe(503)
  expect(answer.headers.get('retry-after')).toBe('1')
})

test('without a key it is an error, since a repeat may take effect twice', async () => {
  await expect(route(post({}))).rejects.toMatchObject({ code: 'MERSAL_COMMIT_UNKNOWN' })
})
