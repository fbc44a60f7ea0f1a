import { connect, type Options } from 'amqplib'
import { bodyOf } from '../messages.ts'
import type { BenchRelay, RelayJob } from './job.ts'

const WINDOW = 1000

/**
 * No database: so fast the same client, window and queue are. `properties`: those that Mersal sets.
 */
export async function bare(
  { rabbit, expected = 0 }: RelayJob,
  properties: (number: number) => Options.Publish,
): Promise<BenchRelay> {
  if (rabbit === undefined) throw new Error('bare publishing needs a queue')
  const model = await connect(rabbit.url, { noDelay: true })
  const channel = await model.createConfirmChannel()
  const bodies = Array.from({ length: expected }, (_, index) => bodyOf(index + 1))
  const all = Promise.withResolvers<void>()
  let next = 0
  let confirmed = 0

  function fill(): void {
    while (next < expected && next - confirmed < WINDOW) {
      const body = bodies[next++] as Buffer
      const answer = (error: unknown): void => {
        if (error !== null && error !== undefined) return all.reject(error)
        confirmed++
        if (confirmed === expected) all.resolve()
        // By the hundred, so that the socket gets large pieces.
        else if (next - confirmed <= WINDOW - 100) fill()
      }
      channel.publish('', rabbit?.queue ?? '', body, properties(next), answer)
    }
  }

  return {
    async start() {
      fill()
    },
    drained: () => all.promise,
    async [Symbol.asyncDispose]() {
      await model.close()
    },
  }
}

export const plainProperties = (): Options.Publish => ({ persistent: true, mandatory: true })

export function mersalProperties(number: number): Options.Publish {
  const id = `0190a1b2-c3d4-7e5f-8a6b-${String(number).padStart(12, '0')}`
  const headers = { 'sent-at': '2026-01-01T00:00:00.000Z', 'partition-key': `key ${number % 1000}` }
  const properties = {
    messageId: id,
    type: 'bench.happened',
    contentType: 'application/json',
    correlationId: id,
    appId: 'bench',
  }
  return { ...plainProperties(), ...properties, headers }
}
