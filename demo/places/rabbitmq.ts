/** RabbitMQ: queues and an exchange whose names begin alike. They are deleted at the end. */
import { randomBytes } from 'node:crypto'
import { type ChannelModel, type ConfirmChannel, type GetMessage, connect } from 'amqplib'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { brokerProblem, openPrivateBroker } from '../../scripts/servers/rabbitmq.ts'
import { type QueueName, StudentRegistered, eventsExchange, queues } from '../plan.ts'
import { type DemoBroker, GREET_MS, type ServerKind, messageOf, poison } from './place.ts'

export const rabbitmqServer: ServerKind = {
  name: 'RabbitMQ',
  problem: brokerProblem,
  variable: 'MERSAL_TEST_RABBITMQ_URL',
  option: '--rabbitmq-url',
  open: async () => {
    const broker = await openPrivateBroker()
    return { ...broker, kill: () => broker.signal('SIGKILL') }
  },
  greet: async (url) => {
    await using transport = rabbitmq({ url, connectTimeoutMs: GREET_MS, logger: false })
    await transport.operations.examine({ queues: [] })
  },
}

/** More than the longest backoff of the demo. */
const retryDelaysMs = [100, 200, 300, 450, 700, 1000, 1500, 2000, 3000, 4000]

export async function openRabbitmq(url: string): Promise<DemoBroker> {
  const prefix = `mersal-demo-${randomBytes(4).toString('hex')}.`
  const exchange = eventsExchange(prefix)
  const look = new Look(url)
  await subscribeAll(url, prefix, exchange)
  const name = (queue: QueueName): string => `${prefix}${queue}`
  const dead = [`${name('registrar')}.dead`, `${name('finance')}.dead`]
  return {
    place: { kind: 'rabbitmq', url, prefix },
    counts: async () => ({
      events: await look.depth([name('audit')]),
      deadLetters: await look.depth(dead),
      waiting: await look.waiting([name('registrar'), name('finance')]),
    }),
    events: async () => (await look.take(name('audit'))).map(toMessage),
    deadLetters: async () =>
      (await Promise.all(dead.map((queue) => look.take(queue)))).flat().map(toMessage),
    disturb: (copies) => look.disturb(name('audit'), name('finance'), copies),
    [Symbol.asyncDispose]: async () => {
      await look.remove(
        queues.flatMap((queue) => [
          name(queue),
          `${name(queue)}.dead`,
          ...retryDelaysMs.map((ms) => `${name(queue)}.retry.${ms}`),
        ]),
        exchange,
      )
    },
  }
}

/** As the apps make them. */
async function subscribeAll(url: string, prefix: string, exchange: string): Promise<void> {
  await using transport = rabbitmq({ url, eventsExchange: exchange, logger: false })
  await Promise.all(
    queues.map((queue) =>
      transport.subscribe(
        `${prefix}${queue}`,
        queue === 'registrar' ? [] : [StudentRegistered.name],
      ),
    ),
  )
}

const toMessage = ({ properties, content }: GetMessage): ReturnType<typeof messageOf> =>
  messageOf(String(properties.messageId), content)

/** On a channel of its own, which the broker closes if there is no such queue. */
async function depthIfThere(model: ChannelModel, name: string): Promise<number> {
  const channel = await model.createChannel()
  channel.on('error', () => {}) // the call that fails tells of it
  try {
    const { messageCount } = await channel.checkQueue(name)
    await channel.close()
    return messageCount
  } catch (error) {
    if ((error as { code?: unknown }).code === 404) return 0
    throw error
  }
}

/** A plain AMQP client, which makes its connection again after the broker was away. */
class Look {
  readonly #url: string
  #model: ChannelModel | undefined
  #channel: ConfirmChannel | undefined

  constructor(url: string) {
    this.#url = url
  }

  async #open(): Promise<ConfirmChannel> {
    if (this.#channel !== undefined) return this.#channel
    const model = await connect(this.#url, { noDelay: true })
    this.#model = model
    const forget = (): void => {
      this.#channel = undefined
    }
    model.on('error', forget).on('close', forget)
    const channel = await model.createConfirmChannel()
    channel.on('error', forget).on('close', forget)
    this.#channel = channel
    return channel
  }

  async depth(names: readonly string[]): Promise<number> {
    const channel = await this.#open()
    let total = 0
    for (const name of names) total += (await channel.checkQueue(name)).messageCount
    return total
  }

  /** Also what comes again later. It lies in queues that are made when they are needed. */
  async waiting(names: readonly string[]): Promise<number> {
    const now = await this.depth(names)
    if (now > 0 || this.#model === undefined) return now
    let later = 0
    for (const name of names)
      for (const ms of retryDelaysMs)
        later += await depthIfThere(this.#model, `${name}.retry.${ms}`)
    return later
  }

  /** Everything in a queue, out of it. */
  async take(name: string): Promise<GetMessage[]> {
    const channel = await this.#open()
    const found: GetMessage[] = []
    for (let next = await channel.get(name); next !== false; next = await channel.get(name)) {
      found.push(next)
      channel.ack(next)
    }
    return found
  }

  async disturb(from: string, to: string, copies: number): Promise<number> {
    const channel = await this.#open()
    channel.sendToQueue(to, poison.body, {
      messageId: poison.id,
      type: poison.type,
      persistent: true,
    })
    const held: GetMessage[] = []
    while (held.length < copies) {
      const message = await channel.get(from)
      if (message === false) break
      held.push(message)
      channel.sendToQueue(to, message.content, {
        ...(message.properties as object),
        persistent: true,
      })
    }
    await channel.waitForConfirms()
    for (const message of held) channel.nack(message, false, true)
    return held.length
  }

  async remove(names: readonly string[], exchange: string): Promise<void> {
    const channel = await this.#open()
    for (const name of names) await channel.deleteQueue(name)
    await channel.deleteExchange(exchange)
    await this.#model?.close()
  }
}
