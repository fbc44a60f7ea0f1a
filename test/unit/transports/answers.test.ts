import type { ConsumeMessage } from 'amqplib'
import { expect, test } from 'vitest'
import { createAnswers } from '../../../src/transports/rabbitmq/consume/answers.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Three deliveries of one channel, and the frames that the broker was sent about them. */
function three({ broken = false } = {}) {
  const frames: string[] = []
  const lost = new AbortController()
  const send = (frame: string): void => {
    if (broken) throw new Error('the channel is closed')
    frames.push(frame)
  }
  const answers = createAnswers(
    {
      ack: ({ fields }, allUpTo = false) =>
        send(`ack ${fields.deliveryTag}${allUpTo ? ' and all before' : ''}`),
      nack: ({ fields }, _, requeue) => send(`nack ${fields.deliveryTag} ${String(requeue)}`),
    },
    lost.signal,
  )
  const [first, second, third] = [1, 2, 3].map((deliveryTag) =>
    answers.to({ fields: { deliveryTag } } as ConsumeMessage),
  ) as [Answer, Answer, Answer]
  return { frames, lost, answers, first, second, third }
}
type Answer = ReturnType<ReturnType<typeof createAnswers>['to']>

test('acknowledgements of one turn leave in one frame, in whatever order they were made', async () => {
  const { frames, first, second, third } = three()
  third('ack')
  first('ack')
  second('ack')
  expect(frames).toEqual([])
  await turn()
  expect(frames).toEqual(['ack 3 and all before'])
})

test('no frame stands for a delivery that has no answer yet', async () => {
  const { frames, first, second, third } = three()
  first('ack')
  third('ack')
  await turn()
  expect(frames).toEqual(['ack 1 and all before', 'ack 3'])
  second('ack')
  await turn()
  expect(frames.slice(2)).toEqual(['ack 2 and all before'])
})

test('a delivery that goes back is told at once, and no later frame acknowledges it', async () => {
  const { frames, first, second, third } = three()
  second('requeue')
  third('ack')
  await turn()
  first('pass-on')
  expect(frames).toEqual(['nack 2 true', 'ack 3', 'nack 1 false'])
})

test('what waits for the end of the turn can be told before', async () => {
  const { frames, answers, first } = three()
  first('ack')
  answers.flush()
  expect(frames).toEqual(['ack 1 and all before'])
  await turn()
  expect(frames).toHaveLength(1)
})

test('nobody is told anything on a channel that is lost or has just been closed', async () => {
  const { frames, lost, first } = three()
  first('ack')
  lost.abort()
  await turn()
  expect(frames).toEqual([])
  const closed = three({ broken: true })
  closed.first('ack')
  closed.second('requeue')
  await turn()
  expect(closed.frames).toEqual([])
})
