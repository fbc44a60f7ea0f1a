import { EventEmitter } from 'node:events'
import type { ConfirmChannel, Options } from 'amqplib'
import { describe, expect, test, vi } from 'vitest'
import { describer } from '../../../src/transports/rabbitmq/connection/address.ts'
import { ConfirmLane } from '../../../src/transports/rabbitmq/publish/confirms.ts'
import type { Answer } from '../../../src/transports/rabbitmq/publish/outcomes.ts'

/** A channel that keeps what is written and answers when it is told to. */
function lane(timeoutMs = 60_000, endsWhenSilent = false) {
  const channel = new EventEmitter()
  const written: {
    exchange: string
    routingKey: string
    content: Buffer
    options: Options.Publish
  }[] = []
  const publish = (
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: Options.Publish,
  ): boolean => written.push({ exchange, routingKey, content, options }) > 0
  const limits: (number | undefined)[] = []
  const closed = { times: 0 }
  const close = async (): Promise<void> => {
    closed.times += 1
    channel.emit('close')
  }
  const confirms = new ConfirmLane(
    Object.assign(channel, { publish, close }) as unknown as ConfirmChannel,
    {
      timeoutMs,
      describe: describer([]),
      endsWhenSilent,
      onClose: (limit) => limits.push(limit),
    },
  )
  const write = (messageId: string, bytes = 1): Promise<Answer> =>
    new Promise((resolve) => {
      confirms.write(
        { exchange: '', routingKey: 'q', content: Buffer.alloc(bytes), properties: { messageId } },
        resolve,
      )
    })
  const give = (index: number): void => {
    const { exchange, routingKey, options } = written[index]!
    channel.emit('return', {
      fields: { exchange, routingKey },
      properties: { messageId: options.messageId, headers: options.headers },
    })
  }
  return { channel, confirms, closed, write, give, limits, written }
}

describe('the record of unanswered publishes', () => {
  test('of two copies of one message on the way at once, only the returned one is refused', async () => {
    const { channel, write, give } = lane()
    const answers = [write('m'), write('m'), write('m')]
    give(1)
    channel.emit('ack', { deliveryTag: 3, multiple: true })
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual([
      'confirmed',
      'refused',
      'confirmed',
    ])
  })

  test('a message that is alone carries no header of ours', () => {
    const { write, written } = lane()
    void write('m')
    void write('n')
    expect(written.map(({ options }) => options.headers)).toEqual([undefined, undefined])
    expect(written.map(({ options }) => [options.mandatory, options.persistent])).toEqual([
      [true, true],
      [true, true],
    ])
  })

  test('single answers out of order find their own message', async () => {
    const { channel, write } = lane()
    const answers = [write('a'), write('b'), write('c')]
    channel.emit('ack', { deliveryTag: 2, multiple: false })
    channel.emit('nack', { deliveryTag: 3, multiple: false, requeue: false })
    channel.emit('ack', { deliveryTag: 1, multiple: false })
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual([
      'confirmed',
      'confirmed',
      'refused',
    ])
  })

  test('what is not answered in time is unknown, and a late return of it does not touch its second copy', async () => {
    const { channel, write, give } = lane(20)
    expect((await write('m')).kind).toBe('unknown')
    const second = write('m')
    give(0)
    channel.emit('ack', { deliveryTag: 2, multiple: true })
    expect((await second).kind).toBe('confirmed')
  })

  test('a size limit of the broker refuses the first message above it, leaves the later ones untaken and the earlier ones unknown', async () => {
    const { channel, write, limits } = lane()
    const answers = [write('a', 10), write('b', 200), write('c', 10), write('d', 300)]
    const text =
      'Channel closed by server: 406 (PRECONDITION-FAILED) with message "PRECONDITION_FAILED - message size 200 is larger than configured max size 100"'
    channel.emit('error', Object.assign(new Error(text), { code: 406 }))
    channel.emit('close')
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual([
      'unknown',
      'refused',
      'not-taken',
      'not-taken',
    ])
    expect(limits).toEqual([100])
  })

  test('any other end of the channel leaves everything unknown', async () => {
    const { channel, write, limits } = lane()
    const answers = [write('a'), write('b')]
    channel.emit('close')
    expect((await Promise.all(answers)).map(({ kind }) => kind)).toEqual(['unknown', 'unknown'])
    expect(limits).toEqual([undefined])
  })

  test('after a silence, a channel that may be left is left, and closed when nobody waits for an answer any more', async ({
    onTestFinished,
  }) => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { channel, confirms, closed, write } = lane(100, true)
    const first = write('a')
    vi.advanceTimersByTime(50)
    const second = write('b')
    vi.advanceTimersByTime(51)
    expect((await first).kind).toBe('unknown')
    expect([confirms.open, closed.times]).toEqual([false, 0])
    channel.emit('ack', { deliveryTag: 2, multiple: false })
    expect((await second).kind).toBe('confirmed')
    expect(closed.times).toBe(1)
  })

  test('after a silence, another channel is kept, since what waits in it must not be overtaken', async () => {
    const { confirms, closed, write } = lane(20)
    expect((await write('a')).kind).toBe('unknown')
    expect([confirms.open, closed.times]).toEqual([true, 0])
  })
})
