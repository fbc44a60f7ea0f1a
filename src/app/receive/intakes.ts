import { errorFields } from '../../core/errors/error-text.ts'
import { invalidOption } from '../../core/options.ts'
import type {
  Consumption,
  Delivery,
  Disposition,
  OnTrouble,
  Transport,
} from '../../core/transport.ts'
import type { Settings } from '../settings/settings.ts'
import { Intake } from './intake.ts'
import type { Origin } from './attempt.ts'
import type { Subscriptions } from './subscriptions.ts'

export interface IntakesPorts<Tx> {
  readonly settings: Settings<Tx>
  readonly subscriptions: Subscriptions
  /** Deliveries that wait for their limits, beside those that are handled. */
  readonly waiting: number
  readonly deliver: (delivery: Delivery, from: Origin) => Promise<Disposition>
}

/** One intake for each transport on which the app declares something. */
export function createIntakes<Tx>(ports: IntakesPorts<Tx>): readonly Intake[] {
  const { settings, subscriptions, deliver } = ports
  const { name: app, logger, clock, random, transports, receive } = settings
  const { concurrency, orderPerKey } = receive
  return subscriptions.places().map(({ transport, read }) => {
    const from = transports.get(transport) as Transport
    const order = read && orderPerKey ? inOrder(transport, from) : {}
    const consumption = { queue: app, concurrency: concurrency + ports.waiting, ...order }
    const consume = (onTrouble: OnTrouble): Promise<AsyncDisposable> =>
      from.consume({ ...consumption, onTrouble }, (delivery) =>
        deliver(delivery, { transport, system: from.name }),
      )
    return new Intake({
      app,
      transport,
      logger,
      clock,
      random,
      declare: (signal) => declare(ports, transport, signal),
      consume: read ? consume : undefined,
    })
  })
}

function inOrder(name: string, { features }: Transport): Pick<Consumption, 'orderPerKey'> {
  switch (features.orderPerKey) {
    case 'always':
      return {}
    case 'when-asked':
      return { orderPerKey: true }
    case undefined:
      throw invalidOption(
        'receive.orderPerKey',
        `the transport '${name}' cannot keep the order of a key up to the handler; take one that can (docs/order.md lists them), or leave the option out`,
      )
    default:
      return features.orderPerKey satisfies never
  }
}

async function declare<Tx>(
  { settings, subscriptions }: IntakesPorts<Tx>,
  transport: string,
  signal: AbortSignal,
): Promise<void> {
  await subscriptions.declare(transport)
  await warnOfUnwanted(settings, subscriptions, transport, signal)
}

/** A handler that was removed from the code leaves its subscription behind, durably. */
async function warnOfUnwanted<Tx>(
  { logger, name: app }: Settings<Tx>,
  subscriptions: Subscriptions,
  transport: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const topics = await subscriptions.unwanted(transport)
    if (topics.length === 0) return
    logger.warn(
      { app, transport, topics: topics.slice(0, 20) },
      'events come into the queue of this app that it neither handles nor subscribes to; they become dead letters. To take one back: app.unsubscribe(type)',
    )
  } catch (error) {
    if (signal.aborted) return
    logger.warn(
      { app, transport, ...errorFields(error) },
      'the app could not find out whether events come that nobody handles',
    )
  }
}
