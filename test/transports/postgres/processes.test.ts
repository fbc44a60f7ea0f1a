import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { consume, type QueueHarness, queueHarness, Work } from '../../postgres/queue-harness.ts'
import type { Task } from './worker.ts'

const present = await serverAnswers()

function start(
  harness: QueueHarness,
  role: Task['role'],
  visibilityMs = 30_000,
): { readonly child: ChildProcess } & AsyncDisposable {
  const task: Task = { url: serverUrl, schema: harness.database.schema, visibilityMs, role }
  const child = fork(join(import.meta.dirname, 'worker.ts'), [JSON.stringify(task)])
  const ended = once(child, 'close')
  return {
    child,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function sent(harness: QueueHarness, count: number): Promise<void> {
  const { app } = harness.app('desk', {
    app: { sendOnly: true, routes: { 'test.work': 'office' } },
  })
  await app.start()
  for (let unit = 0; unit < count; unit += 10) {
    await app.transaction(async (_tx, { send }) => {
      for (let index = unit; index < Math.min(unit + 10, count); index++)
        await send(Work, { label: String(index) })
    })
  }
}

const business = async ({ database }: QueueHarness): Promise<string[]> =>
  (await database.query(`select text from ${database.schema}.business order by text::int`)).map(
    (row) => String(row['text']),
  )

const dead = async ({ database }: QueueHarness): Promise<string[]> =>
  (await database.query(`select reason from ${database.schema}.queue_dead`)).map((row) =>
    String(row['reason']),
  )

describe.skipIf(!present)('processes that share a PostgreSQL queue', () => {
  test('P4: two processes handle every message once, while one after the other is killed and replaced', {
    timeout: 240_000,
  }, async () => {
    await using harness = await queueHarness()
    await harness.queue().subscribe('office', [])
    await using stack = new AsyncDisposableStack()
    const workers = [0, 1].map(() => stack.use(start(harness, 'handle', 300)))
    await Promise.all(workers.map(({ child }) => once(child, 'message')))
    const sending = sent(harness, 600)
    for (let round = 0; round < 4; round++) {
      const victim = workers[round % 2]
      await once((workers[round % 2] = stack.use(start(harness, 'handle', 300))).child, 'message')
      victim?.child.kill('SIGKILL')
    }
    await sending
    while ((await harness.rows('queue_message')).length > 0)
      await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await dead(harness)).toEqual([])
    expect(await business(harness)).toEqual(
      Array.from({ length: 600 }, (_, index) => String(index)),
    )
    for (const { child } of workers) {
      const ended = once(child, 'close')
      child.send('stop')
      expect(await ended).toEqual([0, null])
    }
  })

  test('P10: what a killed process held is handled by another one after its hold, and counts as the next attempt', {
    timeout: 240_000,
  }, async () => {
    await using harness = await queueHarness()
    const queue = harness.queue({ pollIntervalMs: 50 })
    await queue.subscribe('office', [])
    await sent(harness, 1)
    await using victim = start(harness, 'hang', 2000)
    const said = await Promise.race([once(victim.child, 'message'), once(victim.child, 'close')])
    if (said[0] === 'ready') await once(victim.child, 'message')
    const [held] = await harness.database.query(
      `select token, attempts, visible_at > now() as hidden from ${harness.database.schema}.queue_message`,
    )
    expect(held).toMatchObject({ attempts: 1, hidden: true, token: expect.any(String) as string })
    victim.child.kill('SIGKILL')
    const [delivery] = await consume(queue, 'office', 1)
    expect(delivery).toMatchObject({ attempt: 2, message: { type: 'test.work' } })
    expect(await harness.rows('queue_message')).toEqual([])
  })
})
