import { type Channel, type ChannelModel, connect, type GetMessage } from 'amqplib'

/** A look at the broker without anything of ours. */
export interface PlainClient extends AsyncDisposable {
  readonly channel: Channel
  /** Takes everything out of a queue. */
  drain(queue: string): Promise<readonly GetMessage[]>
}

export async function plainClient(url: string): Promise<PlainClient> {
  const model: ChannelModel = await connect(url)
  model.on('error', () => {})
  const channel = await model.createChannel()
  channel.on('error', () => {})
  return {
    channel,
    async drain(queue) {
      const messages: GetMessage[] = []
      for (let next = await channel.get(queue); next !== false; next = await channel.get(queue)) {
        channel.ack(next)
        messages.push(next)
      }
      return messages
    },
    [Symbol.asyncDispose]: () => model.close(),
  }
}

/** Ends the connections of the models as if the process had been killed: without a word. */
export function cut(model: ChannelModel): void {
  ;(model.connection as unknown as { stream: { destroy(error: Error): void } }).stream.destroy(new Error('the process was killed'))
}
