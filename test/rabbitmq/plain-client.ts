import { type Channel, type ChannelModel, connect, type GetMessage } from 'amqplib'

/** A look at the broker without anything of ours. */
export interface PlainClient extends AsyncDisposable {
  readonly channel: Channel
  /** Takes everything out of a queue. */
  drain(queue: string): Promise<readonly GetMessage[]>
}

export async function plainClient(url: string): Promise<PlainClient> {
  const model: ChannelModel = await connect(url, { noDelay: true })
  model.on('error', () => {})
  const channel = await model.createChannel()
  channel.on('error', () => {})
  return {
    channel,
    async drain(queue) {
      const messages: GetMessage[] = []
      const take = (): Promise<GetMessage | false> => channel.get(queue, { noAck: true })
      for (let next = await take(); next !== false; next = await take()) messages.push(next)
      return messages
    },
    [Symbol.asyncDispose]: () => model.close(),
  }
}

/** Ends the connections of the models as if the process had been killed: without a word. */
export function cut(model: ChannelModel): void {
  ;(model.connection as unknown as { stream: { destroy(error: Error): void } }).stream.destroy(
    new Error('the process was killed'),
  )
}
