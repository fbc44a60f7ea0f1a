import { type Channel, connect } from 'amqplib'
import { openPrivateBroker } from '../../scripts/servers/rabbitmq.ts'

/** Runs the task on a channel of its own. */
export type Plainly = <Result>(task: (channel: Channel) => Promise<Result>) => Promise<Result>

/** A RabbitMQ of its own, and a plain client that looks at it. */
export async function openWithPlainClient(stack: AsyncDisposableStack) {
  const server = stack.use(await openPrivateBroker())
  const model = await connect(server.url, { noDelay: true })
  model.on('error', () => {})
  stack.defer(() => model.close())
  const plainly: Plainly = async (task) => {
    const channel = await model.createChannel()
    channel.on('error', () => {})
    try {
      return await task(channel)
    } finally {
      await channel.close().catch(() => {}) // the broker may have closed it
    }
  }
  return { server, plainly }
}
