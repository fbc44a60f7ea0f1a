import { expect, test } from 'vitest'
import { filled, listen, only, receive } from '../../../src/testing/transport/harness.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { rabbitHarness } from '../../rabbitmq/contract-harness.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const place = withVhost(here)

test.skipIf(!here)(
  'a dead letter that is put back is not lost in a crash, whoever gave it up before',
  { timeout: 60_000 },
  async () => {
    await using harness = rabbitHarness(place.url)
    await using transport = await harness.open()
    const queue = await filled(harness, transport, 'x')
    const before = await listen(transport, queue)
    const first = await before.next()
    first.answer({ kind: 'retry', delayMs: 0, error: new Error('not yet') })
    const second = await before.next()
    second.answer({ kind: 'reject', reason: 'rejected', error: new Error('no') })
    await before.stop()
    const box = harness.deadLetters(queue)
    expect(await box.retry([only(await box.list()).key])).toBe(1)
    await using crashing = await harness.open()
    const inbox = await listen(crashing, queue)
    expect((await inbox.next()).label).toBe('x')
    await harness.crash(crashing)
    // It is the message itself, and no copy of what was given up.
    await using after = await listen(transport, queue)
    expect(await receive(after, 1)).toEqual(['x'])
  },
)
