import { type Body, jsonOf } from '../messages.ts'
import { loadPeer } from './load.ts'

/** A bus that was built. */
export interface Instance {
  initialize(): Promise<void>
  start(): Promise<void>
  send(command: object): Promise<void>
  dispose(): Promise<void>
}

interface Configuration {
  withTransport(transport: object): Configuration
  withLogger(factory: () => object): Configuration
  withConcurrency(count: number): Configuration
  withCustomHandler(handler: (message: Body) => void, resolver: object): Configuration
  build(): Instance
}

interface Transport {
  readonly connection?: {
    readonly connection: { readonly stream: { setNoDelay(on: boolean): void } }
  }
}

export interface Bus extends AsyncDisposable {
  send(number: number): Promise<void>
}

const NAME = 'bench/happened'

/** A logger that says nothing. */
export const quiet = (): object =>
  Object.fromEntries(
    ['debug', 'trace', 'info', 'warn', 'error', 'fatal'].map((level) => [level, () => {}]),
  )

/** A bus on a queue of its own, which hands what arrives to the callback. */
export async function openBus(
  url: string,
  queueName: string,
  onBody: (body: Body) => void,
): Promise<Bus> {
  const { Bus } = await loadPeer<{ Bus: { configure(): Configuration } }>('@node-ts/bus-core')
  const { RabbitMqTransport } = await loadPeer<{
    RabbitMqTransport: new (options: object) => Transport
  }>('@node-ts/bus-rabbitmq')
  const { Command } = await loadPeer<{ Command: new () => object }>('@node-ts/bus-messages')
  class Happened extends Command {
    static readonly NAME = NAME
    readonly $name = NAME
    readonly $version = 1
    readonly n: string = ''
    readonly text: string = ''
  }
  const transport = new RabbitMqTransport({ queueName, connectionString: url })
  const bus = Bus.configure()
    .withTransport(transport)
    .withLogger(quiet)
    .withConcurrency(20)
    .withCustomHandler(onBody, {
      resolveWith: ({ $name }: { $name?: string }) => $name === NAME,
      topicIdentifier: NAME,
    })
    .build()
  await bus.initialize()
  // It cannot be asked for, and without it every message waits 40 ms for an acknowledgement of TCP.
  transport.connection?.connection.stream.setNoDelay(true)
  await bus.start()
  return {
    send: (number) => bus.send(Object.assign(new Happened(), jsonOf(number))),
    [Symbol.asyncDispose]: () => bus.dispose(),
  }
}
