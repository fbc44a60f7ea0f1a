import { randomUUID } from 'node:crypto'
import { createClient } from '@redis/client'
import { connect } from 'amqplib'
import { connect as connectNats } from '@nats-io/transport-node'
import { describe, expect, test } from 'vitest'
import type { Transport } from '../../src/core/transport.ts'
import { nats } from '../../src/nats.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { redis } from '../../src/redis.ts'
import { consumers } from '../../src/transports/shared/consumers.ts'
import { brokers } from './brokers.ts'

const { here, url } = await brokers({ fsync: 'off' })

const ack = () => Promise.resolve({ kind: 'ack' as const })

let consuming = false

/**
 * `close` is called when an answer that a consumer needs to begin is on its way. Returns `nothing`
 * if it was not called.
 */
async function closedWhileBeginning(open: (close: () => void) => Transport): Promise<string> {
  const queue = `closing-${randomUUID().slice(0, 8)}`
  let closing: PromiseLike<void> | undefined
  const transport = open(() => {
    closing ??= transport[Symbol.asyncDispose]()
  })
  consuming = false
  await transport.subscribe(queue, [])
  consuming = true
  const answer = await transport.consume({ queue, concurrency: 1 }, ack).then(
    () => 'it has begun',
    (error: { readonly code: string }) => error.code,
  )
  if (closing === undefined) {
    await transport[Symbol.asyncDispose]()
    return 'nothing'
  }
  await closing
  return answer
}

describe('a consumer that begins while its transport is closed is refused, and ended', () => {
  test.skipIf(!here.redis)('Redis', async () => {
    const answer = await closedWhileBeginning((close) => {
      let declared = 0
      const open = async () => {
        const client = createClient({ url: url.redis, socket: { reconnectStrategy: false } })
        client.on('error', () => {})
        await client.connect()
        const send = client.sendCommand.bind(client)
        const answer = async (...args: Parameters<typeof send>): Promise<unknown> => {
          const reply: unknown = await send(...args)
          // Two of the subscription, two of the consumer; the question for rights is none of them.
          const asksForRights = args[0].some((one) => String(one).includes('acl_check_cmd'))
          const declares = String(args[0][0]).startsWith('EVAL') && !asksForRights
          if (declares && ++declared === 4) close()
          return reply
        }
        return Object.assign(client, { sendCommand: answer as typeof send })
      }
      return redis({ connect: open, prefix: randomUUID().slice(0, 8), allowLoss: true })
    })
    expect(answer).toBe('MERSAL_APP_STOPPED')
  })

  test.skipIf(!here.nats)('NATS', async () => {
    const answers = new Set<string>()
    // Which answer is the last one is up to the client: each of them is tried.
    for (let number = 1; !answers.has('nothing'); number++) {
      let asked = 0
      answers.add(
        await closedWhileBeginning((close) => {
          const open = async () => {
            const connection = await connectNats({ servers: url.nats, reconnect: false })
            const request = connection.request.bind(connection)
            connection.request = async (...args) => {
              const reply = await request(...args)
              if (consuming && ++asked === number) close()
              return reply
            }
            return connection
          }
          return nats({ connect: open, prefix: randomUUID().slice(0, 8), logger: false })
        }),
      )
    }
    expect([...answers]).toEqual(['MERSAL_APP_STOPPED', 'nothing'])
  })

  test.skipIf(!here.rabbit)('RabbitMQ', async () => {
    const answer = await closedWhileBeginning((close) => {
      const open = async () => {
        const model = await connect(url.rabbit)
        const createChannel = model.createChannel.bind(model)
        model.createChannel = async () => {
          const channel = await createChannel()
          const consume = channel.consume.bind(channel)
          channel.consume = async (...args) => {
            const reply = await consume(...args)
            close()
            return reply
          }
          return channel
        }
        return model
      }
      return rabbitmq({ connect: open, logger: false })
    })
    expect(answer).toBe('MERSAL_APP_STOPPED')
  })

  test('a transport that lets go of its consumers takes no new one', async () => {
    const running = consumers()
    await running.breakOff(new Error('closed'))
    const broken: unknown[] = []
    const late = {
      breakOff: (reason?: Error) => Promise.resolve(void broken.push(reason?.message)),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
    await expect((async () => running.add(late))()).rejects.toThrow('closed')
    expect(broken).toEqual(['closed'])
  })
})

describe.skipIf(!here.rabbit)('two consumers of one queue that begin at the same time', () => {
  test.each([true, false])(
    'in order and in order (%s) in one transport: one of them is refused',
    async (orderPerKey) => {
      await using transport = rabbitmq({ url: url.rabbit, logger: false })
      const queue = `twice-${randomUUID().slice(0, 8)}`
      await transport.subscribe(queue, [])
      const begin = async (ordered: boolean): Promise<string> => {
        const order = ordered ? { orderPerKey: true } : {}
        const work = transport.consume({ queue, concurrency: 1, ...order }, ack)
        return work.then(
          () => 'begun',
          (error: { readonly code: string }) => error.code,
        )
      }
      const answers = await Promise.all([begin(orderPerKey), begin(true)])
      expect(answers.toSorted()).toEqual(['MERSAL_INVALID_OPTIONS', 'begun'])
    },
  )
})
