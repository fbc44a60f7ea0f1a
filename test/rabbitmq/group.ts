import type { Consumption } from '../../src/core/transport.ts'
import { systemClock } from '../../src/lib/async/clock.ts'
import { describer } from '../../src/transports/rabbitmq/connection/address.ts'
import { amqpClient } from '../../src/transports/rabbitmq/connection/client.ts'
import { Mover } from '../../src/transports/rabbitmq/consume/mover.ts'
import { Settler } from '../../src/transports/rabbitmq/consume/settle.ts'
import { type RabbitOptions, rabbitSettings } from '../../src/transports/rabbitmq/options.ts'
import { Group, type GroupPorts } from '../../src/transports/rabbitmq/order/group.ts'
import { Publisher } from '../../src/transports/rabbitmq/publish/publisher.ts'
import { Topology } from '../../src/transports/rabbitmq/topology/topology.ts'
import type { OnDelivery } from '../../src/transports/shared/deliver.ts'
import { Link } from '../../src/transports/shared/link.ts'
import { Pace } from '../../src/transports/shared/pace.ts'

/** Reads a queue in order as a transport does, with other limits. It has connections of its own. */
export function openGroup(
  options: RabbitOptions,
  limits: Pick<GroupPorts, 'longestHeldMs'>,
  consumption: Consumption,
  onDelivery: OnDelivery,
): Group & AsyncDisposable {
  const settings = rabbitSettings(options)
  const describe = describer([])
  const shared = {
    broker: 'RabbitMQ',
    client: amqpClient(settings, describe),
    pace: new Pace(systemClock, Math.random),
    timeoutMs: settings.connectTimeoutMs,
    describe,
    logger: settings.logger,
    clock: systemClock,
  }
  const link = new Link({ ...shared, purpose: 'receiving' })
  const sending = new Link({ ...shared, purpose: 'publishing' })
  const topology = new Topology(link, settings, describe)
  const publisher = new Publisher(sending, topology, settings, describe, {
    leavesSilentChannels: true,
  })
  const nobody = { confirmed: () => {}, silent: () => {}, missing: () => {} }
  const mover = new Mover(publisher, topology, settings, nobody)
  const settler = new Settler(publisher, topology, settings)
  const prepare = () => topology.queue(consumption.queue)
  const ports = { link, topology, settings, describe, publisher, mover, settler, prepare }
  const group = new Group({ ...ports, ...limits }, consumption, onDelivery)
  const dispose = group[Symbol.asyncDispose].bind(group)
  return Object.assign(group, {
    [Symbol.asyncDispose]: async () => {
      await dispose()
      await Promise.all([link[Symbol.asyncDispose](), sending[Symbol.asyncDispose]()])
    },
  })
}
