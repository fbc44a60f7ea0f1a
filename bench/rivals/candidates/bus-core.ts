import { connect } from 'amqplib'
import { Pool } from 'pg'
import { type Instance, quiet } from '../../peers/bus-core.ts'
import { loadPeer } from '../../peers/load.ts'
import { type Library, type Opened, type Ports, transaction } from '../candidate.ts'
import type { Body } from '../plan.ts'

interface Configuration {
  withTransport(transport: object): Configuration
  withLogger(factory: () => object): Configuration
  withConcurrency(count: number): Configuration
  withRetryStrategy(strategy: object): Configuration
  withCustomHandler(handler: (message: Body) => Promise<void>, resolver: object): Configuration
  build(): Instance
}

const NAME = 'rivals/happened'
const QUEUE = 'rivals'

async function configured({ rabbitmq }: Ports): Promise<{
  readonly configuration: Configuration
  readonly message: (body: Body) => object
}> {
  const { Bus } = await loadPeer<{ Bus: { configure(): Configuration } }>('@node-ts/bus-core')
  const { RabbitMqTransport } = await loadPeer<{
    RabbitMqTransport: new (options: object) => object
  }>('@node-ts/bus-rabbitmq')
  const { Command } = await loadPeer<{ Command: new () => object }>('@node-ts/bus-messages')
  class Happened extends Command {
    static readonly NAME = NAME
    readonly $name = NAME
    readonly $version = 1
    readonly line: string = ''
    readonly n: number = 0
  }
  const options = { queueName: QUEUE, connectionString: rabbitmq, maxRetries: 3 }
  return {
    configuration: Bus.configure()
      .withTransport(new RabbitMqTransport(options))
      .withLogger(quiet)
      .withRetryStrategy({ calculateRetryDelay: () => 300 })
      .withConcurrency(4),
    message: (body) => Object.assign(new Happened(), body),
  }
}

/** 1.x has no outbox, so the message is sent before the commit or after it. */
async function open(ports: Ports): Promise<Opened> {
  const { configuration, message } = await configured(ports)
  const pool = new Pool({ connectionString: ports.database, max: 8 })
  pool.on('connect', ports.watch)
  let bus: Instance | undefined
  const begin = async (instance: Instance): Promise<Instance> => {
    await instance.initialize()
    return instance
  }
  return {
    async write(body) {
      bus ??= await begin(configuration.build())
      const send = (): Promise<void> | undefined => bus?.send(message(body))
      await transaction(
        () => pool.connect(),
        async (client) => {
          await ports.row(client, body)
          if (ports.order === 'send first') await send()
        },
      )
      if (ports.order === 'commit first') await send()
    },
    async consume(handle) {
      const work = ({ line, n }: Body): Promise<void> =>
        transaction(
          () => pool.connect(),
          (client) => handle(client, { line, n }),
        )
      const resolver = {
        resolveWith: ({ $name }: { $name?: string }) => $name === NAME,
        topicIdentifier: NAME,
      }
      bus = await begin(configuration.withCustomHandler(work, resolver).build())
      await bus.start()
    },
    async [Symbol.asyncDispose]() {
      await bus?.dispose()
      await pool.end()
    },
  }
}

export const library: Library = {
  open,
  async given({ rabbitmq }) {
    const model = await connect(rabbitmq)
    try {
      return (await (await model.createChannel()).assertQueue('dead-letter')).messageCount
    } finally {
      await model.close()
    }
  },
}
