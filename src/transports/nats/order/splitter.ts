import { headerNames } from '../../../core/messages/message.ts'
import { errorFields } from '../../../core/errors/error-text.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { bucketOf } from '../../shared/order/key-bucket.ts'
import { keyLanes } from '../../shared/order/key-lanes.ts'
import type { Arrival } from '../consume/delivery.ts'
import type { Answer, Parcel } from '../publish/lane.ts'
import { headerBytes, toEnvelope, withMessageId, withoutMessageId } from '../publish/wire.ts'
import type { Item, Over } from './session.ts'
import type { OrderPorts } from './turns.ts'

const pause = { firstMs: 100, longestMs: 3000 }

/**
 * Moves what comes into the queue into the partitions. Of one key the next one is moved when the
 * one before is in its partition and has left the queue: two processes that both take themselves
 * for the splitter move the same one, and not one that comes after it.
 */
export function splitter(ports: OrderPorts, over: Over): (item: Item) => Promise<void> {
  const lanes = keyLanes()
  return ({ arrival }) => {
    const { id, headers } = toEnvelope(arrival.message)
    const key = headers[headerNames.partitionKey]
    const index = bucketOf(key ?? id, ports.settings.partitions)
    return lanes.run(key, () => move(ports, over, arrival, index))
  }
}

async function move(ports: OrderPorts, over: Over, arrival: Arrival, index: number): Promise<void> {
  const { queue, settler, topology } = ports
  const subject = topology.names.partitionOf(queue, index)
  for (let failures = 1; !over.stopping.aborted && ports.isMine(); failures++) {
    const answer = await copy(ports, subject, arrival)
    if (answer?.kind === 'stored') {
      const hold = { queue, arrival, ...over, state: undefined, attempt: 1 }
      const isOver = (): Promise<boolean> => ports.isOver(topology.names.streamOf(queue), arrival)
      return settler.settle({ ...hold, isOver }, { kind: 'ack' })
    }
    if (answer?.kind === 'nobody') await ports.prepare()
    if (answer !== undefined) ports.failed(new Error(describe(answer)))
    await systemClock.sleep(backoffMs(pause, failures, Math.random), over.stopping)
  }
}

async function copy(
  ports: OrderPorts,
  subject: string,
  arrival: Arrival,
): Promise<Answer | undefined> {
  try {
    return await ports.publisher.send(await parcelOf(ports, subject, arrival))
  } catch (error) {
    ports.settings.logger.debug(errorFields(error), 'a message was not moved into its partition')
    return undefined
  }
}

/** JetStream stores a copy once. Where there is no room for what tells it so, it is left out. */
async function parcelOf(
  { link, queue }: OrderPorts,
  subject: string,
  { message, key }: Arrival,
): Promise<Parcel> {
  const { client } = (await link.connection()).connection
  const limit = client.info?.max_payload ?? Number.MAX_SAFE_INTEGER
  const { headers: given, data: body } = message
  const headers = withMessageId(given, `${queue}.${key}`)
  const fits = headerBytes(headers) + body.byteLength <= limit
  return { subject, body, headers: fits ? headers : withoutMessageId(given) }
}

function describe(answer: Answer): string {
  switch (answer.kind) {
    case 'error':
      return `a message cannot be moved into its partition: NATS answers: ${answer.text}`
    case 'nobody':
      return 'the stream of the partitions is missing'
    case 'stored':
    case 'confirmed':
      return ''
    case 'refused':
    case 'unavailable':
    case 'unknown':
      return `a message cannot be moved into its partition: ${answer.error.message}`
    default:
      return answer satisfies never
  }
}
